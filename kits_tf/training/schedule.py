"""The learning rate over a run."""

import tensorflow as tf


def polynomial(training):
    """Falls from `learning_rate` to zero at the run's last step, as (1 - step / steps) ** 0.9.

    Source: nnU-Net (Isensee et al. 2021), which took it from DeepLab (Chen et al. 2017).

    Args:
        training: config.TrainingConfig.
    """
    return tf.keras.optimizers.schedules.PolynomialDecay(
        training.learning_rate, training.epochs * training.steps_per_epoch, end_learning_rate=0.0, power=0.9)
