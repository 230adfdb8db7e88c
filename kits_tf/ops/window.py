"""Scales an intensity window of Hounsfield units to 0..1, the only intensity scaling before the nets."""

import tensorflow as tf


def scale_window(hu: tf.Tensor, window_hu: tuple[float, float]) -> tf.Tensor:
    """Scales an intensity window to 0..1 and clips values outside it.

    Args:
        hu: Hounsfield units, any shape and numeric type.
        window_hu: (low, high); low becomes 0, high becomes 1.

    Returns:
        float32 of the same shape.
    """
    low, high = window_hu
    return tf.clip_by_value((tf.cast(hu, tf.float32) - low) / (high - low), 0.0, 1.0)
