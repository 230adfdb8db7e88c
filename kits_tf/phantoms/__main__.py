"""python -m kits_tf.phantoms --output=DIR --cases=16 --seed=0 [--anatomy=DIR] [--hard] [--body]

Writes a study of synthetic CT phantoms in KiTS19's layout. For a small study on two CPU cores, use
--size=256 --slice_mm=4,5
"""

from absl import flags

from kits_tf import command
from kits_tf.errors import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "Folder to write case_00000, case_00001, … into.", required=True)
flags.DEFINE_integer("cases", 16, "How many cases to write.")
flags.DEFINE_integer("first", 0, "Index of the first case; a case looks the same whatever is written with it.")
flags.DEFINE_integer("seed", 0, "Another seed, other patients.")
flags.DEFINE_integer("size", 512, "Pixels in x and in y; the field of view stays, so fewer are larger.")
flags.DEFINE_list("slice_mm", "1,5", "Range of the distance between slices, in mm; each case has its own.")
flags.DEFINE_string("anatomy", None, "Folder of KiTS19 cases to take kidneys, tumors and voxels from, in turn; "
                    "--size, --slice_mm and --hard then say nothing.")
flags.DEFINE_bool("hard", False, "As hard as cases with --anatomy always are: low contrast, one case in four without, "
                  "noise by slice thickness, streaks.")
flags.DEFINE_bool("body", False, "Whole-body phantoms: any part from neck to thighs, any contrast phase, with or "
                  "without kidneys and tumors; to train nets for real scans.")
flags.DEFINE_list("field_mm", None, "Range of the field of view of --body, in mm; about the body's width if not given.")


def main() -> int:
    from kits_tf.phantoms.abdomen import Scanner  # imports SciPy, which --help does not need
    from kits_tf.phantoms.study import write_study

    try:
        low, *rest = [float(text) for text in FLAGS.slice_mm]
        scanner = Scanner(size_voxels=FLAGS.size, slice_mm=(low, rest[0] if rest else low))
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
        raise InputError("--body: draws patients of its own, expected neither --anatomy nor --hard")
    write_study(FLAGS.output, FLAGS.cases, FLAGS.seed, scanner, FLAGS.first, FLAGS.anatomy, FLAGS.hard, FLAGS.body,
                field_mm)
    return 0


if __name__ == "__main__":
    command.run(main, {"What is drawn": ("output", "cases", "first", "seed", "anatomy", "hard", "body"),
                       "How it is scanned": ("size", "slice_mm", "field_mm")}, "the cases that are there are whole")
