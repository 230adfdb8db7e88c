"""Prepares a KiTS-shaped study for training: TFRecord shards per case and stage, five folds, a manifest.

python -m data_prep --input=kits19/data --output=data
python -m data_prep --input=runs/demo/study --output=runs/demo/data --preset=demo
python -m data_prep --output=data --check

What is done already, from the same files under the same settings, is skipped. A case that cannot be used does not stop
the others. Exit status: 0 if all cases are prepared, 1 if one is not or nothing could start.
"""

import json
import pathlib
import sys

import tqdm
from absl import app, flags

from kits_tf.config import PRESETS, STAGES
from kits_tf.quiet import quiet_tensorflow
from kits_tf.volume import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string("input", None, "study of case_xxxxx/imaging.nii.gz and segmentation.nii.gz")
flags.DEFINE_string("output", "data", "folder to write records to")
flags.DEFINE_enum("stage", "all", ["all", *STAGES], "which stage to prepare")
flags.DEFINE_enum("preset", "paper", sorted(PRESETS), "settings; train.py must be given the same")
flags.DEFINE_integer("seed", 0, "deals the cases into five folds")
flags.DEFINE_boolean("check", False, "only hold the records in --output against their manifest; writes nothing")


def prepare(study, data_dir, stages, config, seed):
    """Prepares every case for the stages; returns the exit status.

    Raises:
        InputError: if nothing can start.
    """
    from data_prep import cases as case_files  # TensorFlow takes seconds to import: not for --help
    from data_prep import coarse, correction, fine, tumor2d, tumor3d
    from data_prep.manifest import Manifest, sources
    from kits_tf.io import dataset, records
    from kits_tf.io.files import write_text

    writers = {"coarse": coarse, "correction": correction, "fine": fine, "tumor3d": tumor3d, "tumor2d": tumor2d}
    cases = case_files.find_cases(study)
    names = [case.name for case in cases]
    try:
        pathlib.Path(data_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{data_dir}: cannot be made ({error.strerror}), --output expects a folder") from error
    folds = {"seed": seed, "folds": case_files.deal_folds(names, seed)}
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
            normalized = case_files.read_case(case, config.spacing_mm)
            for stage in todo:
                count = records.write(dataset.shard_path(data_dir, stage, case.name),
                                      writers[stage].examples(normalized, config))
                manifests[stage].done(case.name, found, count)
        except InputError as error:
            failed += 1
            tqdm.tqdm.write(f"failed: {error}", file=sys.stderr)
            for stage in todo:
                manifests[stage].failed(case.name, found, str(error))
    print(f"{len(cases) - failed} of {len(cases)} cases prepared in {data_dir} ({skipped} were already)",
          file=sys.stderr)
    return 1 if failed else 0


def check(data_dir, stages):
    """Prints a line for each shard that is missing or damaged; returns the exit status."""
    from data_prep import manifest

    wrong = [line for stage in stages for line in manifest.check(data_dir, stage)]
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{data_dir}: {len(wrong)} problems" if wrong else f"{data_dir}: all records are whole", file=sys.stderr)
    return 1 if wrong else 0


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    quiet_tensorflow()
    stages = STAGES if FLAGS.stage == "all" else (FLAGS.stage,)
    try:
        if FLAGS.check:
            return check(FLAGS.output, stages)
        if not FLAGS.input:
            raise InputError("--input is missing: give a study, --input=DIR with case_xxxxx/imaging.nii.gz and "
                             "segmentation.nii.gz")
        return prepare(FLAGS.input, FLAGS.output, stages, PRESETS[FLAGS.preset], FLAGS.seed)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    app.run(main)
