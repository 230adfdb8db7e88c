"""Writes a study of synthetic CT phantoms in KiTS19's layout.

    python -m kits_tf.phantoms --output=DIR --cases=16 --seed=0 [--anatomy=DIR] [--hard] [--body]

For a small study on two CPU cores, use --size=256 --slice_mm=4,5
"""

from absl import flags

from kits_tf import command
from kits_tf.errors import InputError
from kits_tf.files import own

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "folder to write case_00000, case_00001, ... to", required=True)
flags.DEFINE_integer("cases", 16, "number of cases to write")
flags.DEFINE_integer("first", 0, "index of the first case; a case depends only on its index and the seed")
flags.DEFINE_integer("seed", 0, "seed; another seed gives other patients")
flags.DEFINE_integer("size", 512, "pixels in x and in y; the field of view stays the same")
flags.DEFINE_list("slice_mm", "1,5", "range of the slice spacing in mm; each case has its own")
flags.DEFINE_string("anatomy", None, "folder of KiTS19 cases whose kidneys, tumors and voxel grids are used in turn; "
                    "--size, --slice_mm and --hard then have no effect")
flags.DEFINE_bool("hard", False, "as hard as cases with --anatomy: low contrast, one case in four non-contrast, "
                  "more noise in thin slices, streaks")
flags.DEFINE_bool("body", False, "whole-body phantoms, to train nets for real scans: any part from neck to "
                  "thighs, any contrast phase, with or without kidneys and tumors")
flags.DEFINE_list("field_mm", None, "range of the field of view with --body, in mm; default: about the body's width")
flags.DEFINE_float("tumor_share", 0.6, "share of the patients that have a tumor with --body", lower_bound=0.0,
                   upper_bound=1.0)
own.define_flag()


def main() -> int:
    from kits_tf.phantoms.abdomen import Scanner  # imports SciPy, which --help does not need
    from kits_tf.phantoms.study import write_study

    try:
        low, high = [float(text) for text in FLAGS.slice_mm * (2 if len(FLAGS.slice_mm) == 1 else 1)]
        scanner = Scanner(size_voxels=FLAGS.size, slice_mm=(low, high))
    except ValueError as error:
        raise InputError(f"--size={FLAGS.size} --slice_mm={','.join(FLAGS.slice_mm)}: {error}") from error
    try:
        field = [float(text) for text in FLAGS.field_mm or ()]
        field_mm = (min(field), max(field)) if field else None
        if field and not 50 <= min(field) <= max(field) <= 900:
            raise ValueError("expected 50 to 900")
    except ValueError as error:
        raise InputError(f"--field_mm={','.join(FLAGS.field_mm)}: {error}") from error
    if FLAGS.body and (FLAGS.anatomy or FLAGS.hard):
        raise InputError("--body: expected neither --anatomy nor --hard with it")
    write_study(FLAGS.output, FLAGS.cases, FLAGS.seed, scanner, FLAGS.first, anatomy=FLAGS.anatomy, hard=FLAGS.hard,
                body=FLAGS.body, field_mm=field_mm, tumor_share=FLAGS.tumor_share, overwrite=FLAGS.overwrite)
    return 0


if __name__ == "__main__":
    command.run(main, {"Patients": ("output", "cases", "first", "seed", "anatomy", "hard", "body", "tumor_share",
                                    "overwrite"),
                       "Scanner": ("size", "slice_mm", "field_mm")}, "the cases written so far are complete")
