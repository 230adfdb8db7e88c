"""Prepares a whole study: every case, every stage, and the five folds.

Defines no flags, so that other code can call it.
"""

import json
import pathlib
import sys
import time
from collections.abc import Sequence

import tqdm

from data_prep.conflicts import check_conflicts, discard_conflicts
from data_prep.manifest import Manifest
from data_prep.shards import prepare_case
from kits_tf import cluster, device
from kits_tf.config import CascadeConfig
from kits_tf.errors import InputError, few
from kits_tf.files.atomic import write_table, write_text
from kits_tf.files.lock import only_writer
from kits_tf.quiet import say, warn
from kits_tf.records import dataset
from kits_tf.scans import layouts
from kits_tf.scans.discovery import IMAGING, SEGMENTATION, Case

SUMMARY = ("case", "status", "seconds", "message")
SAVED_EVERY = 2.0  # seconds between saves of the manifests, which are large for a large study


def find_cases(study: layouts.DataSet) -> list[Case]:
    """Returns the cases of a data set with ground truth, sorted by name, and says how it was understood.

    Raises:
        InputError: as scans.layouts.find_cases, and if no case has labels.
    """
    found = _labeled(study)
    say(found.summary)
    return found.cases


def _labeled(study):
    """Returns the cases of a data set with ground truth as layouts.Found."""
    found = layouts.find_cases(study, labeled=True)
    if found.layout == "scans":
        raise InputError(f"{study.path}: contains no case with labels; expected case_xxxxx/{IMAGING}.nii.gz and "
                         f"{SEGMENTATION}.nii.gz, a data set of nnU-Net or the Decathlon, pairs such as a.nii.gz and "
                         f"a_seg.nii.gz, or a table of case,image,label")
    return found


def discard_others(study: layouts.Given, data_dir: str | pathlib.Path, stages: Sequence[str],
                   config: CascadeConfig, seed: int | None = None, place: cluster.Place = cluster.HERE) -> None:
    """Deletes the records in a data folder that prepare_study would refuse. Args and errors as prepare_study.

    Nothing is deleted if prepare_study would then refuse the folder for another reason.
    """
    cases = {case.name: case for case in _labeled(layouts.DataSet.of(study, place.path)).cases}
    data_dir = place.path(data_dir)
    with only_writer(data_dir):
        dataset.update_folds(data_dir, cases, seed)
        _check_summary(data_dir / "summary.csv")
        number = discard_conflicts(data_dir, cases, stages, config)
    if number:
        say(f"{data_dir}: deleted {number} records of cases, studies or settings other than these")


def prepare_study(study: layouts.Given, data_dir: str | pathlib.Path, stages: Sequence[str], config: CascadeConfig,
                  seed: int | None = None, place: cluster.Place = cluster.HERE) -> int:
    """Prepares every case for the given stages.

    A case that cannot be used is reported on stderr and in summary.csv and does not stop the others. Warnings about
    usable cases are printed to stderr, one line each. summary.csv is replaced at the end.

    Args:
        study: a data set in a layout of scans.layouts, or its path alone.
        data_dir: folder to write to, created if absent.
        stages: names from config.STAGES.
        config: CascadeConfig.
        seed: int, assigns new cases to folds; None for the folder's own, or 0.
        place: where the cases are processed (kits_tf.cluster).

    Returns:
        The exit status: 0 if all cases are prepared, 1 if at least one failed.

    Raises:
        InputError: if the run cannot start, the folder holds records of something else (conflicts.py), folds of
            another seed or another summary.csv, another run writes to it, the disk is full, or the connection to the
            scheduler is lost.
    """
    cases = {case.name: case for case in find_cases(layouts.DataSet.of(study, place.path))}
    data_dir = place.path(data_dir)
    device.announce("float32", False, "preparing")
    with only_writer(data_dir):
        check_conflicts(data_dir, cases, stages, config)
        folds = dataset.update_folds(data_dir, cases, seed)
        _check_summary(data_dir / "summary.csv")
        write_text(dataset.folds_path(data_dir), json.dumps(folds, indent=1) + "\n")
        manifests = {stage: Manifest(data_dir, stage, config) for stage in stages}
        for manifest in manifests.values():
            manifest.keep_only(cases)
        jobs = [cluster.Job(name, {"case": case, "data_dir": data_dir, "config": config, "entries": {
            stage: manifest.cases.get(name) for stage, manifest in manifests.items()}}) for name, case in cases.items()]
        rows, saved = {}, time.monotonic()
        try:
            for done in cluster.run(prepare_case, jobs, "preparing", place):
                for manifest in manifests.values():
                    if done.failure is None:
                        manifest.enter(done.name)
                    else:
                        manifest.failed(cases[done.name], done.failure)
                result = done.result or {"status": "failed", "message": done.failure, "warnings": ()}
                for warning in result["warnings"]:
                    tqdm.tqdm.write(f"warning: {warning}", file=sys.stderr)
                rows[done.name] = {"case": done.name, "seconds": done.seconds, **result}
                if time.monotonic() - saved > SAVED_EVERY:
                    for manifest in manifests.values():
                        manifest.save()
                    saved = time.monotonic()
            for manifest in manifests.values():
                manifest.sweep()
        finally:
            for manifest in manifests.values():
                manifest.close()
        write_table(data_dir / "summary.csv", SUMMARY, [rows[name] for name in cases])
        _warn_of_twins(manifests[stages[0]])
    statuses = [row["status"] for row in rows.values()]
    say(f"{cluster.counted(statuses)}; records in {data_dir}")
    return 1 if "failed" in statuses else 0


def _warn_of_twins(manifest):
    """Warns of cases that are the same scan: in different folds, a net would be validated on what it was trained on."""
    named: dict[str, list[str]] = {}
    for name, entry in manifest.cases.items():
        scan = dataset.scan_of(entry)
        if scan and "failure" not in entry:
            named.setdefault(scan, []).append(name)
    for names in named.values():
        if len(names) > 1:
            warn(f"{few(names)} are the same scan; take all but one out of the study and prepare it again with "
                 f"--discard: training refuses folds in which one is for training and one for validation")


def _check_summary(path):
    """Raises InputError if another table lies where the summary goes."""
    if path.exists() and not path.read_bytes().startswith(",".join(SUMMARY).encode() + b"\n"):
        raise InputError(f"{path}: was not written by data_prep, and is kept; move it away or choose another --output")
