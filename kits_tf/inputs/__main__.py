"""Draws a contact sheet of augmented training examples.

    python -m kits_tf.inputs --show --stage=fine --data_dir=data --output=fine.png

Each row shows one record, drawn as in training: first the record as prepared, then augmented versions of it. The target
is outlined in orange, and the kidney mask that tumor2d reads in blue.
"""

import pathlib

from absl import flags

from kits_tf import command, lazy
from kits_tf.config import STAGES, command_line
from kits_tf.errors import InputError
from kits_tf.files import own
from kits_tf.files.atomic import write_bytes
from kits_tf.records import dataset

FLAGS = flags.FLAGS
flags.DEFINE_bool("show", False, "draw the sheet (required)")
flags.DEFINE_string("data_dir", "data", "folder of the records that python -m data_prep wrote")
flags.DEFINE_enum("stage", "fine", STAGES, "stage whose examples to draw")
command_line.define_flags()
flags.DEFINE_integer("fold", 0, "fold whose cases are left out", lower_bound=0, upper_bound=dataset.FOLDS - 1)
flags.DEFINE_integer("seed", 0, "seed of sampling and augmentation", lower_bound=0, upper_bound=2**31 - 2)
flags.DEFINE_string("output", None, "PNG file to write; default: augmented_<stage>.png")
own.define_flag()


def main() -> int:
    config = command_line.config_from_flags()
    if not FLAGS.show:
        raise InputError("--show is missing; give it to draw the contact sheet")
    output = pathlib.Path(FLAGS.output or f"augmented_{FLAGS.stage}.png")
    own.check_own([output], FLAGS.overwrite)
    train = dataset.split(FLAGS.data_dir, FLAGS.stage, FLAGS.fold, config)[0]
    sheet = lazy.load("kits_tf.inputs.sheet")  # imports TensorFlow, which --help does not need
    png = sheet.contact_sheet(config, FLAGS.stage, train, FLAGS.seed)
    with own.staged(output.parent, FLAGS.overwrite) as folder:
        write_bytes(folder / output.name, png)
    print(output)
    return 0


if __name__ == "__main__":
    command.run(main, {"Input and output": ("show", "data_dir", "stage", "fold", "seed", "output", "overwrite"),
                       "Settings": command_line.FLAGS},
                "no sheet was drawn")
