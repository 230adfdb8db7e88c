"""Times a training step in float32 and in mixed_bfloat16, stage by stage, on random batches.

    python -m benchmarks.precision --preset=demo --rounds=7

Both precisions alternate within one run, so that other load on the machine slows both. The table has medians.
"""

import statistics
import time

from absl import app, flags

from kits_tf import config as configs
from kits_tf.quiet import quiet_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_enum("preset", "demo", list(configs.PRESETS), "whose nets and batches")
flags.DEFINE_integer("rounds", 7, "steps of either kind that are timed", lower_bound=5)
flags.DEFINE_multi_enum("stage", list(configs.STAGES), configs.STAGES, "which stages")

PRECISIONS = ("float32", "mixed_bfloat16")


def main(_):
    quiet_tensorflow()
    import tensorflow as tf

    from kits_tf import models
    from kits_tf.training.step import TrainStep
    from kits_tf.training.task import Task

    print(f"TensorFlow {tf.__version__}, preset {FLAGS.preset}, medians of {FLAGS.rounds} steps")
    print(f"{'stage':<12}{'batch':>6}{'float32':>12}{'bfloat16':>12}{'speed-up':>10}")
    config = configs.PRESETS[FLAGS.preset]
    for stage in FLAGS.stage:
        size = config.stage(stage).training.batch_size
        image = tf.random.stateless_uniform((size, *config.input_shape(stage), models.channels(stage)), (0, 1))
        target = tf.cast(image[..., :1] > 0.9, tf.float32)
        steps = {name: TrainStep(Task(config, stage, 0, 0, (), (), name), tf.distribute.get_strategy())
                 for name in PRECISIONS}
        seconds = {name: [] for name in PRECISIONS}
        for number in range(FLAGS.rounds + 1):
            for name, step in steps.items():
                began = time.perf_counter()
                step(image, target, False).numpy()
                if number:  # the first step builds the graph
                    seconds[name].append(time.perf_counter() - began)
        full, half = (statistics.median(seconds[name]) for name in PRECISIONS)
        print(f"{stage:<12}{size:>6}{full:>10.3f} s{half:>10.3f} s{full / half:>9.2f}x", flush=True)


if __name__ == "__main__":
    app.run(main)
