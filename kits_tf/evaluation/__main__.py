"""Scores predictions against ground truth, as KiTS19 and KiTS23 do.

    python -m kits_tf.evaluation --predictions=DIR --labels=STUDY --output=DIR [--workers=N]

Ground truth may be KiTS19, KiTS21, KiTS23, nnU-Net, the Medical Segmentation Decathlon, pairs, a table or a folder of
label files. Writes scores.csv (one row per case) and summary.json (mean, median, worst case), then prints both as a
table.
Exit status: 1 if a prediction could not be compared with its labels, labels could not be read (that case has no
score), no prediction belongs to a case, or no case could be scored.
"""

from absl import flags

from kits_tf import cluster, command
from kits_tf.files import own
from kits_tf.scans import layouts

FLAGS = flags.FLAGS
flags.DEFINE_string("predictions", None, "folder of prediction_<id>.nii.gz, where <id> is 00210 for case_00210, or "
                    "else of <case>.nii.gz with the label values of the ground truth")
flags.DEFINE_string("labels", None, "ground truth: case_xxxxx/segmentation.nii.gz, another data set, or a folder of "
                    "label files")
flags.DEFINE_string("output", None, "folder to write scores.csv and summary.json to")
flags.DEFINE_list("cases", None, "cases to score, such as case_00210,case_00211 or 00210,00211; default: all")
layouts.define_flags("label_map")
own.define_flag()
cluster.define_flags()
flags.mark_flags_as_required(["predictions", "labels", "output"])


def main() -> int:
    from kits_tf.evaluation.evaluator import evaluate_study  # imports SciPy, which --help does not need

    return evaluate_study(FLAGS.predictions, layouts.from_flags(FLAGS.labels, "label_map"), FLAGS.output,
                          FLAGS.cases or None, cluster.place_from_flags(), FLAGS.overwrite)


def run() -> None:
    """Entry point of the installed command (pyproject.toml)."""
    command.run(main, {"Input and output": ("predictions", "labels", "layout", "label_map", "output", "cases",
                                            "overwrite"), **cluster.FLAGS},
                "no scores were written")


if __name__ == "__main__":
    run()
