"""Warps of image batches: tensorflow-addons where it can be installed, Keras 3 where it cannot.

tensorflow-addons ended with TensorFlow 2.15; newer stacks have Keras 3, whose `keras.ops.image` does the same. This is
the only file that knows which. Both give the same result (tests/test_addons.py holds either against SciPy), in eager
code and inside tf.data. Images are float32 (batch, y, x, channels); positions are voxels, (y, x).
"""

import warnings

import tensorflow as tf

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its end of life at every import
        import tensorflow_addons as tfa
except ImportError:
    tfa = None


def warp_affine(images: tf.Tensor, matrices: tf.Tensor, interpolation: str = "linear", fill: float = 0.0) -> tf.Tensor:
    """Moves each image by an affine map from output to input positions.

    Args:
        images: float32 (batch, y, x, channels).
        matrices: float32 (batch, 2, 3); output voxel p reads the input at m[:, :2] @ p + m[:, 2], all in (y, x).
        interpolation: "linear" or "nearest".
        fill: value of what lies outside the image; half-way over its edge the two are mixed.

    Returns:
        float32 of the images' shape.
    """
    kind = {"linear": "bilinear", "nearest": "nearest"}[interpolation]
    (yy, yx, y0), (xy, xx, x0) = (tf.unstack(row, axis=1) for row in tf.unstack(matrices, axis=1))
    nought = tf.zeros_like(yy)
    rows = tf.stack([xx, xy, x0, yx, yy, y0, nought, nought], axis=1)  # both libraries count x first
    if tfa is not None:
        return tfa.image.transform(images, rows, interpolation=kind, fill_mode="constant", fill_value=fill)
    return tf.keras.ops.image.affine_transform(images, rows, interpolation=kind, fill_mode="constant", fill_value=fill,
                                               data_format="channels_last")


def warp_dense(images: tf.Tensor, displacement: tf.Tensor, fill: float = 0.0) -> tf.Tensor:
    """Moves each voxel of each image by its own displacement; linear interpolation.

    Args:
        images: float32 (batch, y, x, channels), of a static shape.
        displacement: float32 (batch, y, x, 2); output voxel p reads the input at p + displacement[p], in voxels (y, x).
        fill: as in warp_affine.

    Returns:
        float32 of the images' shape.
    """
    border = [[0, 0], [1, 1], [1, 1], [0, 0]]  # beyond the edge both libraries repeat what is there: let it be fill
    images = tf.pad(images, border, constant_values=fill)
    displacement = tf.pad(displacement, border)
    if tfa is not None:
        warped = tfa.image.dense_image_warp(images, -displacement)
    else:
        warped = _map_coordinates(images, displacement)
    return warped[:, 1:-1, 1:-1]


def _map_coordinates(images, displacement):
    # Keras interpolates along every axis it is given, so each channel of each image becomes one plane of a stack.
    batch, height, width, channels = images.shape
    planes = tf.reshape(tf.transpose(images, (0, 3, 1, 2)), (batch * channels, height, width))
    steps = tf.repeat(displacement, channels, axis=0)
    number, y, x = tf.meshgrid(*(tf.range(size, dtype=tf.float32) for size in planes.shape), indexing="ij")
    positions = tf.stack([number, y + steps[..., 0], x + steps[..., 1]])
    warped = tf.keras.ops.image.map_coordinates(planes, tf.reshape(positions, (3, -1)), order=1, fill_mode="nearest")
    return tf.transpose(tf.reshape(warped, (batch, channels, height, width)), (0, 2, 3, 1))
