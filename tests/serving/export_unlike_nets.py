"""Exports a small cascade of varied networks with known labels.

    python tests/serving/export_unlike_nets.py FOLDER

Each stage is the mean of a network with random weights and a threshold network: the first gives varied probabilities,
the second decides whether they are above one half.
"""

import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).parents[index]) for index in (1, 2)]

import tensorflow as tf  # noqa: E402
from harness import tiny_nets  # noqa: E402

from kits_tf import models  # noqa: E402
from kits_tf.cascade import export_cascade  # noqa: E402

if __name__ == "__main__":
    tf.keras.utils.set_random_seed(0)
    config = tiny_nets.tiny_config()
    export_cascade({stage: [models.build(config, stage), net]
                    for stage, net in tiny_nets.threshold_models(config).items()}, sys.argv[1], config, flips=True)
