"""The learning rate over a run, and the optimizer that follows it."""

import math
from collections.abc import Sequence

import tensorflow as tf

from kits_tf.config import TrainingConfig

POWER = 0.9  # of the polynomial; nnU-Net's (Isensee et al. 2021), which took it from DeepLab (Chen et al. 2017)


class LearningRate(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Rises from zero over the warm-up, then falls to zero at the run's last step.

    Step s of the run (from 0) is scaled by (s + 1) / warm_up_steps while it warms up; then, with t the part of the
    remaining steps that is done, by (1 - t) ** 0.9 ("polynomial") or (1 + cos(pi t)) / 2 ("cosine": Loshchilov and
    Hutter 2017, without restarts).

    Args:
        training: config.TrainingConfig.
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
    """The optimizer of a run, with its own variables made.

    Args:
        training: config.TrainingConfig.
        weights: a model's trainable weights.

    Returns:
        tf.keras.optimizers.Optimizer. Weight decay leaves biases and batch norm's factors alone (every weight with
        fewer than two axes), as is usual.
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
