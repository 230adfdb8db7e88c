"""Finds the records in a data folder that a preparation would delete or replace by those of something else.

Such records may have taken hours to make. A run is refused if a case has left the study, if another study has the same
case names, or if the preset is another one; --discard deletes these records first.
"""

import pathlib
from collections.abc import Iterable, Mapping, Sequence

from data_prep.manifest import forget, sources
from kits_tf.config import STAGES, CascadeConfig
from kits_tf.errors import InputError, few
from kits_tf.files.atomic import TEMPORARY
from kits_tf.records import dataset
from kits_tf.scans.discovery import Case


def find_conflicts(data_dir: str | pathlib.Path, cases: Mapping[str, Case], stages: Sequence[str],
                   config: CascadeConfig) -> dict[str, list[tuple[str, str]]]:
    """Finds records that do not belong to what is to be prepared.

    Changed files of single cases are no conflict: their records are written again.

    Args:
        data_dir: the prepared folder.
        cases: the cases of the study by name.
        stages: the stages to prepare.
        config: CascadeConfig to prepare them with.

    Returns:
        For each reason, a phrase, the (stage, case) of the records.
    """
    shards = {stage: {path.stem for path in dataset.manifest_path(data_dir, stage).parent.glob("*.tfrecord")
                      if not path.name.startswith(TEMPORARY)} for stage in STAGES}
    manifests = {stage: _manifest(data_dir, stage) for stage in STAGES}
    found: dict[str, tuple[Iterable[str], Sequence[str]]] = {}
    gone = sorted(set().union(*shards.values()) - set(cases))
    if gone:
        found[f"has records of {few(gone, 1)}, which the study lacks"] = gone, STAGES
    scans = {name: entry["sources"]["imaging"] for stage in STAGES for name, entry in manifests[stage]["cases"].items()
             if name in cases and name in shards[stage] and dataset.scan_of(entry)}
    if len(scans) > 1 and all(_is_another(cases[name], facts) for name, facts in scans.items()):
        found["has records of another study with the same case names (all scans differ)"] = scans, STAGES
    others = [stage for stage in stages if shards[stage] and _is_other(manifests[stage]["settings"],
                                                                       config.record_settings(stage))]
    if others:
        reason = f"has {', '.join(others)} records of other settings than preset {config.preset}'s"
        found[reason] = set().union(*shards.values()), others
    every = {reason: [(stage, name) for stage in chosen for name in names if name in shards[stage]]
             for reason, (names, chosen) in found.items()}
    return {reason: records for reason, records in every.items() if records}


def check_conflicts(data_dir: str | pathlib.Path, cases: Mapping[str, Case], stages: Sequence[str],
                    config: CascadeConfig) -> None:
    """Checks that a preparation deletes no records. Args as find_conflicts.

    Raises:
        InputError: if it would; the message names the reasons.
    """
    found = find_conflicts(data_dir, cases, stages, config)
    if found:
        raise InputError(f"{data_dir}: {'; '.join(found)}; give another --output, or --discard to delete these records "
                         f"first ({len(set().union(*found.values()))} files)")


def discard_conflicts(data_dir: str | pathlib.Path, cases: Mapping[str, Case], stages: Sequence[str],
                      config: CascadeConfig) -> int:
    """Deletes the records that are in the way and returns their number. Args as find_conflicts."""
    records = set().union(*find_conflicts(data_dir, cases, stages, config).values())
    for stage in STAGES:
        forget(data_dir, stage, {name for place, name in records if place == stage})
    return len(records)


def _manifest(data_dir, stage):
    try:
        return dataset.read_manifest(data_dir, stage) or {"settings": None, "cases": {}}
    except InputError:  # it is written again
        return {"settings": None, "cases": {}}


def _is_other(there, here):
    """Returns whether record settings differ, other than in their version, whose records are written again."""
    return there is not None and {**there, "version": None} != {**here, "version": None}


def _is_another(case, facts):
    """Returns whether a scan exists and is not the one with these facts; hashes it only if the sizes agree."""
    try:
        if case.imaging.is_file() and "bytes" in facts and case.imaging.stat().st_size != facts["bytes"]:
            return True
        return sources(case)["imaging"] not in (None, facts)
    except (OSError, InputError):
        return False
