"""Prepares a whole study: every case, every stage, and the five folds. Apart from the flags, so that other code can
call it."""

import json
import pathlib
import sys

import tqdm

from data_prep import coarse, correction, fine, tumor2d, tumor3d
from data_prep.cases import deal_folds, find_cases, read_case
from data_prep.manifest import Manifest, sources
from kits_tf.io import dataset, records
from kits_tf.io.files import write_text
from kits_tf.volume import InputError

WRITERS = {"coarse": coarse, "correction": correction, "fine": fine, "tumor3d": tumor3d, "tumor2d": tumor2d}


def prepare_study(study, data_dir, stages, config, seed):
    """Prepares every case for the stages. A case that cannot be used is one line on stderr; the others go on.

    Args:
        study: folder of case_xxxxx/imaging.nii.gz and segmentation.nii.gz.
        data_dir: folder to write to, made if absent.
        stages: names out of config.STAGES.
        config: CascadeConfig.
        seed: int, deals the cases into folds.

    Returns:
        The exit status: 0 if all cases are prepared, 1 if one is not.

    Raises:
        InputError: if nothing can start.
    """
    cases = find_cases(study)
    names = [case.name for case in cases]
    try:
        pathlib.Path(data_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{data_dir}: cannot be made ({error.strerror}), --output expects a folder") from error
    folds = {"seed": seed, "folds": deal_folds(names, seed)}
    write_text(dataset.folds_path(data_dir), json.dumps(folds, indent=1) + "\n")
    manifests = {stage: Manifest(data_dir, stage, config) for stage in stages}
    for manifest in manifests.values():
        manifest.keep_only(names)
    failed, skipped = 0, 0
    for case in tqdm.tqdm(cases, desc="preparing", unit="case", file=sys.stderr, disable=None):
        found = sources(case)
        todo = [stage for stage in stages if not manifests[stage].is_fresh(case.name, found)]
        skipped += not todo
        if not todo:
            continue
        try:
            normalized = read_case(case, config.spacing_mm)
            for stage in todo:
                count = records.write(dataset.shard_path(data_dir, stage, case.name),
                                      WRITERS[stage].examples(normalized, config))
                manifests[stage].done(case.name, found, count)
        except InputError as error:
            failed += 1
            tqdm.tqdm.write(f"failed: {error}", file=sys.stderr)
            for stage in todo:
                manifests[stage].failed(case.name, found, str(error))
    print(f"{len(cases) - failed} of {len(cases)} cases prepared in {data_dir} ({skipped} were already)",
          file=sys.stderr)
    return 1 if failed else 0
