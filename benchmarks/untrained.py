"""Exports a cascade with nets of full size and random weights, for speed measurements.

    python -m benchmarks.untrained --preset=paper --output=DIR

The cascade's work depends on what the nets find, and random nets find nothing or everything. So each net returns a
threshold of its first input channel, halfway between the classes of a scan made from a mask (scans.py), plus a tiny
share of its own output, so that no graph optimizer can remove the net.
"""

import sys

from absl import app, flags

from benchmarks import scans
from benchmarks.work import POLICIES
from kits_tf import config as configs
from kits_tf.config import command_line
from kits_tf.quiet import quiet_tensorflow

FLAGS = flags.FLAGS
command_line.define_flags()
flags.DEFINE_string("output", None, "export folder; each export is a new version in it")
flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "what the nets compute in")
flags.mark_flags_as_required(["output"])

SHARE = 1e-7  # of the net's own output: too small to change a threshold, large enough to survive rounding


def untrained_nets(config, precision="float32"):
    """Builds a net of every stage for export_cascade, with folded batch norms like trained nets.

    Returns:
        dict from stage to a function from windowed float32 (n, [z,] y, x, channels) to probabilities.
    """
    import tensorflow as tf

    from kits_tf import models
    from kits_tf.models.fold import folded

    def answer(stage):
        model = folded(models.build(config, stage), config, stage, POLICIES[precision])
        above = scans.above(stage)

        def call(image):
            own = model(image, training=False)
            return tf.cast(image[..., :1] > above, tf.float32) * (1.0 - SHARE) + SHARE * own

        return call

    return {stage: answer(stage) for stage in configs.STAGES}


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    quiet_tensorflow()
    from kits_tf.cascade.export import export_cascade

    config = command_line.config_from_flags()
    nets = untrained_nets(config, FLAGS.precision)
    version = export_cascade(nets, FLAGS.output, config, origin={"weights": "untrained", "precision": FLAGS.precision})
    print(f"{version}: five {FLAGS.precision} nets of the {FLAGS.preset} preset, untrained", file=sys.stderr)


if __name__ == "__main__":
    app.run(main)
