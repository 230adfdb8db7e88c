"""Times connected components in the graph, against cc3d on the host including the copies to the host and back.

    python -m benchmarks.components

The masks are those of a prediction.
"""

import statistics

import cc3d
import numpy as np
from absl import app, flags

from benchmarks import scans, tables
from kits_tf import config as configs
from kits_tf.quiet import quiet_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_enum("preset", "paper", list(configs.PRESETS), "whose grids")
flags.DEFINE_integer("rounds", 7, "how often each is timed", lower_bound=5)


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    quiet_tensorflow()
    import tensorflow as tf

    from kits_tf.cascade import kidney_steps as steps
    from kits_tf.ops import components, resample

    config = configs.PRESETS[FLAGS.preset]
    volume, _ = scans.made()
    grid = resample.grid_size(volume.voxels.shape, volume.spacing_mm, config.spacing_mm)
    coarse = steps.coarse_mask(lambda image: tf.cast(image > scans.above("coarse"), tf.float32),
                               steps.coarse_slices(tf.constant(volume.voxels), grid, config), config)
    found = steps.find_kidneys(coarse, *steps.coarse_scale(grid, config), grid, config.kidney_min_voxels)
    region = steps.region_around(found, tf.constant(volume.voxels), grid, config)
    masks = {"coarse mask": coarse, "tumors in the region": region.image > scans.above("tumor3d")}
    label = tf.function(components.label_components, input_signature=[tf.TensorSpec((None,) * 3, tf.bool)])
    rows = []
    for name, mask in masks.items():
        def host(mask=mask):
            return tf.constant(cc3d.connected_components(mask.numpy().astype(np.uint8), connectivity=26))

        assert int(label(mask)[1]) == int(tf.reduce_max(host()))
        seconds = tables.alternate(FLAGS.rounds, graph=lambda mask=mask: label(mask)[0].numpy(), host=host)
        rows.append((name, " x ".join(map(str, mask.shape)), f"{int(label(mask)[1])}",
                     f"{tables.ratio(seconds['graph'], seconds['host']):.2f}",
                     f"{statistics.median(seconds['graph']):.3f} s", f"{statistics.median(seconds['host']):.3f} s"))
    tables.table("Components",
                 ("mask", "voxels", "components", "times as long as cc3d", "in the graph", "cc3d"), rows,
                 f"`python -m benchmarks.components`: masks of a prediction, preset {FLAGS.preset}; its own time is "
                 f"above. Medians of {FLAGS.rounds}.")


if __name__ == "__main__":
    app.run(main)
