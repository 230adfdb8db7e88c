"""2D U-Net: maps one slice to one probability per pixel.

Source: Ronneberger et al. 2015, arXiv:1505.04597, which Zhang et al. name for their kidney nets. Differences: padded
convolutions, so that output and input have the same size; batch normalization; upsampling by repetition (blocks.grow).
"""

import tensorflow as tf

from kits_tf.config import UNetConfig
from kits_tf.models import blocks


def build(shape: tuple[int, ...], config: UNetConfig, name: str = "unet2d",
          normalization: str | None = None) -> tf.keras.Model:
    """Builds a U-Net with random initialization.

    Args:
        shape: (y, x, channels) of the input; for sagittal planes (z, y, channels).
        name: name of the Keras model.
        normalization: as in blocks.convolution; None for that of the config.

    Returns:
        tf.keras.Model from (n, y, x, channels) to probabilities (n, y, x, 1).

    Raises:
        ValueError: if y or x is not a multiple of 2 ** (levels - 1).
    """
    config.check_size("shape", shape[:2])
    normalization = normalization or config.normalization
    widths = [min(config.base_filters * 2**level, config.max_filters) for level in range(config.levels)]

    def pair(tensor, filters, where):
        for number in (1, 2):
            tensor = blocks.convolution(tensor, filters, (3, 3), normalization, f"{where}_{number}")
        return tensor

    inputs = tf.keras.Input(shape, name="image")
    tensor, skips = inputs, []
    for level, filters in enumerate(widths):
        if level:
            skips.append(tensor)
            tensor = blocks.shrink(tensor, (2, 2), f"down{level}")
        tensor = pair(tensor, filters, f"down{level}")
    for level in reversed(range(config.levels - 1)):
        tensor = blocks.grow(tensor, widths[level], (2, 2), normalization, f"up{level}")
        tensor = tf.keras.layers.Concatenate(name=f"up{level}_skip")([skips[level], tensor])
        tensor = pair(tensor, widths[level], f"up{level}")
    return tf.keras.Model(inputs, blocks.head(tensor), name=name)
