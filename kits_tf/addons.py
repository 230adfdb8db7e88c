"""Warps batches of images with tensorflow-addons, or with Keras 3 where tensorflow-addons is not available.

tensorflow-addons ended with TensorFlow 2.15; newer versions have the same functions in Keras 3 (`keras.ops.image`).
Only this file depends on the choice. Both libraries give the same result, eagerly and inside tf.data
(tests/test_addons.py compares both with SciPy). Images are float32 (batch, y, x, channels); positions are in voxels,
(y, x).
"""

import warnings

import tensorflow as tf

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it prints an end-of-life notice at every import
        import tensorflow_addons as tfa
except ImportError:
    tfa = None


def warp_affine(images: tf.Tensor, matrices: tf.Tensor, interpolation: str = "linear") -> tf.Tensor:
    """Warps each image with an affine map from output positions to input positions.

    Args:
        images: float32 (batch, y, x, channels).
        matrices: float32 (batch, 2, 3); output voxel p reads the input at m[:, :2] @ p + m[:, 2], in (y, x) order.
        interpolation: "linear" or "nearest".

    Returns:
        float32, same shape as `images`; 0 outside the image. Positions less than a voxel outside are interpolated
        between the edge voxel and 0.
    """
    kind = {"linear": "bilinear", "nearest": "nearest"}[interpolation]
    (yy, yx, y0), (xy, xx, x0) = (tf.unstack(row, axis=1) for row in tf.unstack(matrices, axis=1))
    nought = tf.zeros_like(yy)
    rows = tf.stack([xx, xy, x0, yx, yy, y0, nought, nought], axis=1)  # both libraries expect x before y
    if tfa is not None:
        return tfa.image.transform(images, rows, interpolation=kind, fill_mode="constant")
    return tf.keras.ops.image.affine_transform(images, rows, interpolation=kind, fill_mode="constant",
                                               data_format="channels_last")


def warp_dense(images: tf.Tensor, displacement: tf.Tensor) -> tf.Tensor:
    """Warps each image with a displacement per voxel, with linear interpolation.

    Args:
        images: float32 (batch, y, x, channels), with a static shape.
        displacement: float32 (batch, y, x, 2); output voxel p reads the input at p + displacement[p], in voxels (y, x).

    Returns:
        float32, same shape as `images`; 0 outside the image, as in warp_affine.
    """
    border = [[0, 0], [1, 1], [1, 1], [0, 0]]  # both libraries repeat the edge: make it 0
    images = tf.pad(images, border)
    displacement = tf.pad(displacement, border)
    if tfa is not None:
        warped = tfa.image.dense_image_warp(images, -displacement)
    else:
        warped = _map_coordinates(images, displacement)
    return warped[:, 1:-1, 1:-1]


def _map_coordinates(images, displacement):
    # Keras interpolates along every axis of its input, so each channel of each image becomes one plane of a stack.
    batch, height, width, channels = images.shape
    planes = tf.reshape(tf.transpose(images, (0, 3, 1, 2)), (batch * channels, height, width))
    steps = tf.repeat(displacement, channels, axis=0)
    number, y, x = tf.meshgrid(*(tf.range(size, dtype=tf.float32) for size in planes.shape), indexing="ij")
    positions = tf.stack([number, y + steps[..., 0], x + steps[..., 1]])
    warped = tf.keras.ops.image.map_coordinates(planes, tf.reshape(positions, (3, -1)), order=1, fill_mode="nearest")
    return tf.transpose(tf.reshape(warped, (batch, channels, height, width)), (0, 2, 3, 1))
