"""The learning rate schedule of a run and the optimizer that uses it."""

import math
from collections.abc import Sequence

import tensorflow as tf

from kits_tf.config import TrainingConfig

POWER = 0.9  # exponent of the polynomial, as in nnU-Net (Isensee et al. 2021), from DeepLab (Chen et al. 2017)


class LearningRate(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Increases linearly from zero during the warm-up, then decreases to zero at the end of the run.

    During the warm-up, step s (from 0) has the learning rate times (s + 1) / warm_up_steps. Afterwards, with t the
    fraction of the remaining steps that is done, the factor is (1 - t) ** 0.9 ("polynomial") or (1 + cos(pi t)) / 2
    ("cosine"; Loshchilov and Hutter 2017, without restarts).
    """

    def __init__(self, training: TrainingConfig) -> None:
        super().__init__()
        self.training = training

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        training, step = self.training, tf.cast(step, tf.float32)
        warm = training.warm_up_steps
        done = tf.clip_by_value((step - warm) / (training.epochs * training.steps_per_epoch - warm), 0.0, 1.0)
        left = (1.0 - done) ** POWER if training.schedule == "polynomial" else (1.0 + tf.cos(math.pi * done)) / 2.0
        return training.learning_rate * (tf.minimum((step + 1.0) / warm, left) if warm else left)

    def get_config(self) -> dict:
        return {"training": self.training}


def optimizer(training: TrainingConfig, weights: Sequence[tf.Variable]) -> tf.keras.optimizers.Optimizer:
    """Creates the optimizer of a run and builds its variables.

    Args:
        weights: the trainable weights of a model.

    Returns:
        tf.keras.optimizers.Optimizer. As usual, weight decay excludes biases and batch norm parameters (all weights
        with fewer than two axes).
    """
    rate = LearningRate(training)
    if training.optimizer == "adam":
        made = tf.keras.optimizers.Adam(rate)
    elif training.optimizer == "adamw":
        made = tf.keras.optimizers.AdamW(rate, weight_decay=training.weight_decay)
    else:
        made = tf.keras.optimizers.SGD(rate, momentum=training.momentum, nesterov=True,
                                       weight_decay=training.weight_decay or None)
    if training.weight_decay:
        made.exclude_from_weight_decay(var_list=[weight for weight in weights if len(weight.shape) < 2])
    made.build(weights)
    return made
