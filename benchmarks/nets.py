"""Measures floating-point operations per second of the nets, against a large matrix product on the same machine.

    python -m benchmarks.nets [--preset=paper] [--precision=float32 --precision=bfloat16] [--xla=off --xla=on]
"""

import itertools
import statistics

from absl import app, flags

from benchmarks import tables
from benchmarks.work import POLICIES, operations, shape_of
from kits_tf import config as configs
from kits_tf.quiet import quiet_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_enum("preset", "paper", list(configs.PRESETS), "whose nets and settings")
flags.DEFINE_multi_enum("precision", ["float32", "bfloat16"], ["float32", "bfloat16"], "what the nets compute in")
flags.DEFINE_multi_enum("xla", ["off"], ["off", "on"], "compiled, as the export's signature xla is, or not")
flags.DEFINE_integer("rounds", 5, "calls of each that are timed", lower_bound=5)
SIDE = 3000  # rows and columns of the matrices


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    quiet_tensorflow()
    import tensorflow as tf

    from kits_tf import models
    from kits_tf.models.fold import folded

    config, rows = configs.PRESETS[FLAGS.preset], []
    multiply = tf.function(lambda matrix: tf.matmul(matrix, matrix))
    for precision in FLAGS.precision:
        matrix = tf.cast(tf.random.stateless_uniform((SIDE, SIDE), (1, 2)), precision)
        for stage, xla in itertools.product(configs.STAGES, FLAGS.xla):
            shape = shape_of(config, stage)
            model = folded(models.build(config, stage), config, stage, POLICIES[precision])
            call = tf.function(lambda image, model=model: model(image, training=False),
                               jit_compile=xla == "on").get_concrete_function(tf.TensorSpec(shape, tf.float32))
            image = tf.random.stateless_uniform(shape, (3, 4))
            seconds = tables.alternate(FLAGS.rounds, net=lambda call=call, image=image: call(image).numpy(),
                                       product=lambda matrix=matrix: multiply(matrix).numpy())
            work = operations(model, shape)
            rates = {"net": work / statistics.median(seconds["net"]) / 1e9,
                     "product": 2 * SIDE**3 / statistics.median(seconds["product"]) / 1e9}
            share = work / 2 / SIDE**3 / tables.ratio(seconds["net"], seconds["product"])
            rows.append((stage, precision, xla, " x ".join(map(str, shape)), f"{share:.2f}", f"{rates['net']:.0f}",
                         f"{rates['product']:.0f}", f"{work / 1e9:.1f}", f"{statistics.median(seconds['net']):.3f}"))
    tables.table("Nets against a matrix product",
                 ("net", "precision", "XLA", "input", "share of the product's rate", "net, GFLOP/s", "product, GFLOP/s",
                  "GFLOP a call", "seconds a call"), rows,
                 f"`python -m benchmarks.nets`: preset {FLAGS.preset}, batch norms folded, a product of {SIDE} x {SIDE}"
                 f" matrices of the same precision, medians of {FLAGS.rounds}.")


if __name__ == "__main__":
    app.run(main)
