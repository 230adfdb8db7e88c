"""3D FCN with a long skip connection: maps a block of CT to one probability per voxel.

Zhang et al. only name the kind of net (after Wu et al. 2018, a 3D FCN for subcortical structures); the design is ours.
It has four levels. Voxels are about four times as thick as wide, so the first pooling is in-plane only. The long skip
connection concatenates the first level, the only one at full resolution, with the last layers. Short skip connections
add the second and third level on the way up. Nearly all computation takes place below full resolution, where a voxel
costs an eighth or less. The fourth level costs almost nothing and enlarges the receptive field: inside a large tumor,
only distant surroundings distinguish it from liver or muscle.
"""

import tensorflow as tf

from kits_tf.config import FCN3DConfig
from kits_tf.models import blocks


def build(config: FCN3DConfig, name: str = "fcn3d", normalization: str | None = None,
          outputs: int = 1) -> tf.keras.Model:
    """Builds an FCN with random initialization, for blocks whose sizes are multiples of (2, 4, 4).

    The fourth level rounds odd sizes up.

    Args:
        name: name of the Keras model.
        normalization: as in blocks.convolution; None for that of the config.
        outputs: number of channels of layer "logits".

    Returns:
        tf.keras.Model from (n, z, y, x, 1) to probabilities of the same shape.
    """
    full, half, quarter = config.filters
    normalization = normalization or config.normalization

    def convolve(tensor, filters, where, kernel=(3, 3, 3)):
        return blocks.convolution(tensor, filters, kernel, normalization, where)

    inputs = tf.keras.Input((None, None, None, 1), name="image")
    long_skip = convolve(inputs, full, "down0_1")
    tensor = blocks.shrink(long_skip, (1, 2, 2), "down1")
    tensor = convolve(tensor, half, "down1_1")
    short_skip = tensor = convolve(tensor, half, "down1_2")
    tensor = blocks.shrink(tensor, (2, 2, 2), "down2")
    tensor = convolve(tensor, quarter, "down2_1")
    lowest_skip = tensor = convolve(tensor, quarter, "down2_2")
    tensor = blocks.shrink(tensor, (2, 2, 2), "down3")
    for number in (1, 2, 3):
        tensor = convolve(tensor, quarter, f"down3_{number}")
    tensor = blocks.grow(tensor, quarter, (2, 2, 2), normalization, "up2")
    tensor = tf.keras.layers.Add(name="up2_skip")([lowest_skip, blocks.CropTo(name="up2_crop")([tensor, lowest_skip])])
    tensor = convolve(tensor, quarter, "up2_1")
    tensor = blocks.grow(tensor, half, (2, 2, 2), normalization, "up1")
    tensor = tf.keras.layers.Add(name="up1_skip")([short_skip, tensor])
    tensor = convolve(tensor, half, "up1_1")
    tensor = blocks.grow(tensor, full, (1, 2, 2), normalization, "up0")
    tensor = tf.keras.layers.Concatenate(name="up0_long_skip")([long_skip, tensor])
    # In-plane kernel: a third of the cost of a 3x3x3 kernel, on the most expensive level.
    tensor = convolve(tensor, full, "up0_1", kernel=(1, 3, 3))
    return tf.keras.Model(inputs, blocks.head(tensor, outputs=outputs), name=name)
