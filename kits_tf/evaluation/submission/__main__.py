"""Packs a KiTS19 submission.

    python -m kits_tf.evaluation.submission --predictions=predictions --study=kits19/data --output=submission.zip

Checks the names, labels, shapes and affines of prediction_00210.nii.gz to prediction_00299.nii.gz against the scans,
then zips the files. If a check fails, writes no zip and exits with status 1.
"""

from absl import flags

from kits_tf import command
from kits_tf.errors import InputError
from kits_tf.evaluation.submission import TEST_CASES
from kits_tf.files import own

FLAGS = flags.FLAGS
MOST = 99999  # case numbers have five digits
flags.DEFINE_string("predictions", None, "folder of prediction_<id>.nii.gz, as predict.py writes it", required=True)
flags.DEFINE_string("study", None, "folder of the scans: case_xxxxx/imaging.nii.gz", required=True)
flags.DEFINE_string("output", "submission.zip", "zip file to write")
own.define_flag()
flags.DEFINE_integer("first", TEST_CASES.start, "number of the first case", lower_bound=0, upper_bound=MOST)
flags.DEFINE_integer("last", TEST_CASES.stop - 1, "number of the last case", lower_bound=0, upper_bound=MOST)


def main() -> int:
    from kits_tf.evaluation.submission.packing import pack  # imports nibabel, which --help does not need

    if FLAGS.last < FLAGS.first:
        raise InputError(f"--last={FLAGS.last}: comes before --first={FLAGS.first}")
    count = pack(FLAGS.predictions, FLAGS.study, FLAGS.output, range(FLAGS.first, FLAGS.last + 1), FLAGS.overwrite)
    print(f"{FLAGS.output}: {count} cases, checked against their scans")
    return 0


if __name__ == "__main__":
    command.run(main, {"Input and output": ("predictions", "study", "output", "first", "last", "overwrite")},
                "no zip was written")
