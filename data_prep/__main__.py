"""Prepares a data set for training: writes TFRecord shards per case and stage, five folds and manifests.

    python -m data_prep --input=kits19/data --output=data --workers=4
    python -m data_prep --input=runs/demo/study --output=runs/demo/data --preset=demo
    python -m data_prep --input=nnUNet_raw/Dataset220_KiTS2023 --output=data
    python -m data_prep --input=cases.csv --labels=kidney:1,tumor:2,cyst:3 --output=data
    python -m data_prep --output=data --check                      # reads only; --input=STUDY and --preset= check more

The layout of the data set is recognized and printed: KiTS19, KiTS21, KiTS23, nnU-Net, Medical Segmentation Decathlon,
pairs such as a.nii.gz and a_seg.nii.gz, or a table of case,image,label (docs/data-preparation.md).

Shards that are up to date (same source files, labels and settings) are skipped. A case that cannot be used does not
stop the others. Cases keep the folds that they were dealt. Records of cases that left the study, of another study or of
another preset are not overwritten, unless --discard deletes them first.

Exit status: 0 if all cases are prepared, 1 if a case failed or the run could not start, 130 after Ctrl-C. With
--check: 0 if all shards are whole, 2 if a shard is damaged, missing, stale or an orphan, 1 if nothing could be checked.
"""

from absl import flags

from data_prep.check import check_data
from data_prep.preparation import discard_others, prepare_study
from kits_tf import cluster, command
from kits_tf.config import STAGES, command_line
from kits_tf.errors import InputError
from kits_tf.scans import layouts

FLAGS = flags.FLAGS
flags.DEFINE_string("input", None, "data set: a folder of case_xxxxx/imaging.nii.gz and segmentation.nii.gz, or in "
                    "another layout")
flags.DEFINE_string("output", "data", "folder to write the records to")
flags.DEFINE_enum("stage", "all", ["all", *STAGES], "stage to prepare")
layouts.define_flags()
command_line.define_flags()
flags.DEFINE_integer("seed", None, "seed that assigns the cases to five folds when a folder is first prepared; "
                     "default: 0; later cases join these folds")
flags.DEFINE_boolean("discard", False, "first delete the records of cases that left the study, of another study or of "
                     "other settings")
flags.DEFINE_boolean("check", False, "only check the records in --output against their manifests and, if given, "
                     "against the files of --input and the settings of --preset and --set; writes nothing")
cluster.define_flags()


def main() -> int:
    config = command_line.config_from_flags()
    stages = STAGES if FLAGS.stage == "all" else (FLAGS.stage,)
    place, study = cluster.place_from_flags(), layouts.from_flags(FLAGS.input) if FLAGS.input else None
    if FLAGS.check:
        given = FLAGS["preset"].present or FLAGS["set"].present
        return check_data(FLAGS.output, FLAGS.stage, config if given else None, study)
    if study is None:
        raise InputError("--input is missing; expected a data set, such as a folder of case_xxxxx/imaging.nii.gz and "
                         "segmentation.nii.gz")
    if FLAGS.discard:
        discard_others(study, FLAGS.output, stages, config, FLAGS.seed, place)
    return prepare_study(study, FLAGS.output, stages, config, FLAGS.seed, place)


def run() -> None:
    """Runs the installed command (entry point in pyproject.toml)."""
    command.run(main, {"Input and output": ("input", "layout", "labels", "output", "stage", "seed", "discard",
                                            "check"),
                       "Settings": command_line.FLAGS, **cluster.FLAGS},
                "rerun the command to continue after the last complete case")


if __name__ == "__main__":
    run()
