"""Exports a trained run as one SavedModel that holds the whole cascade.

python -m kits_tf.cascade --run_dir=runs/demo --output=runs/demo/export
"""

import pathlib
import sys

from absl import app, flags

from kits_tf.quiet import quiet_tensorflow
from kits_tf.volume import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "run folder that train.py wrote, with all five stages trained")
flags.DEFINE_string("output", None, "export folder; <run_dir>/export unless given. Each export is a new version in it")
flags.DEFINE_integer("fold", 0, "which fold's nets", lower_bound=0)
flags.DEFINE_enum("weights", "best", ["best", "last"], "best on the held-out cases, or the last")
flags.mark_flags_as_required(["run_dir"])


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    quiet_tensorflow()
    from kits_tf.cascade.collect import collect  # TensorFlow takes seconds to import: not for --help
    from kits_tf.cascade.export import export_cascade

    try:
        nets, config = collect(FLAGS.run_dir, FLAGS.fold, FLAGS.weights)
        version = export_cascade(nets, FLAGS.output or pathlib.Path(FLAGS.run_dir) / "export", config)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{version}: the cascade, preset {config.preset}, five nets of fold {FLAGS.fold}", file=sys.stderr)
    return 0


def run():
    """Entry point of the installed command (pyproject.toml)."""
    app.run(main)


if __name__ == "__main__":
    run()
