"""Scores a model on real scans and on single slices with tumors.

    python -m benchmarks.real --scans=DIR --model=EXPORT --output=DIR [--phantoms=STUDY] [--before=DIR]

Writes results.csv (a row per scan), slices.csv (a row per kidney with tumor in DIR/tumor-slices), summary.md (means,
worst cases and targets), pictures in gallery/ and slices/, and labels with their reports in predictions/. With
--phantoms, also measures the effect of the tumor slices' clipping to 8 bit. A scan that fails gets a row with the
reason, and the exit status is 1. If files in DIR are not its own, or were changed since, it does nothing, unless
--overwrite is given.
"""

import pathlib

from absl import flags

from kits_tf import command
from kits_tf.errors import InputError
from kits_tf.files import own

FLAGS = flags.FLAGS
flags.DEFINE_string("scans", None, "folder of <name>/imaging.nii.gz, kidney.nii.gz beside it, and scans.csv")
flags.DEFINE_string("model", None, "folder of an exported cascade")
flags.DEFINE_string("output", None, "folder for tables, pictures and predictions")
flags.DEFINE_string("phantoms", None, "study of phantoms whose slices are scored as they are and clipped to 8 bit")
flags.DEFINE_string("before", None, "output of an earlier run, whose means and worst are shown beside")
flags.DEFINE_list("only", None, "names of scans; all unless given")
flags.DEFINE_boolean("tumor_slices", True, "score the slices of DIR/tumor-slices too")
own.define_flag()
flags.mark_flags_as_required(["scans", "model", "output"])


def main() -> int:
    from benchmarks.real import protocol, runner  # imported late, because --help does not need them

    scans = protocol.find_scans(FLAGS.scans)
    unknown = set(FLAGS.only or ()) - {scan.name for scan in scans}
    if unknown:
        raise InputError(f"--only={','.join(sorted(unknown))}: no such scan in {FLAGS.scans}")
    runner.check_output(pathlib.Path(FLAGS.output), FLAGS.overwrite)
    return runner.run_benchmark(
        [scan for scan in scans if not FLAGS.only or scan.name in FLAGS.only],
        pathlib.Path(FLAGS.scans) / protocol.TUMOR_SLICES if FLAGS.tumor_slices else None,
        FLAGS.phantoms and pathlib.Path(FLAGS.phantoms), FLAGS.model, pathlib.Path(FLAGS.output),
        FLAGS.before and pathlib.Path(FLAGS.before))


def run() -> None:
    command.run(main, {"In and out": ("scans", "model", "output", "phantoms", "before", "only",
                                   "tumor_slices", "overwrite")},
                "results.csv holds the scans that are done")


if __name__ == "__main__":
    run()
