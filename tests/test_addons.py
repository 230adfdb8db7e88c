"""Compares the warps with SciPy; the file runs on both stacks, so both libraries must give the same result."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from kits_tf import addons

SHAPE = (2, 19, 26, 3)  # not square, so that swapped axes show
# No position lies halfway between voxels, where "nearest" is ambiguous.
MATRICES = np.array([[[0.9, 0.2, 1.31], [-0.25, 1.1, -2.113]], [[-1.0, 0.0, 18.0], [0.05, 1.0, 0.613]]], np.float32)


@pytest.fixture
def images():
    noise = np.random.default_rng(0).normal(size=SHAPE)
    return ndimage.gaussian_filter(noise, (0, 1, 1, 0)).astype(np.float32) * 5


def modes(function):
    """Returns the function as called eagerly and as mapped inside tf.data."""
    def mapped(*arguments, **options):
        dataset = tf.data.Dataset.from_tensors(arguments).map(lambda *items: function(*items, **options))
        return next(iter(dataset))
    return [function, mapped]


@pytest.mark.parametrize("warp", modes(addons.warp_affine), ids=["eager", "tf.data"])
@pytest.mark.parametrize(("interpolation", "order"), [("linear", 1), ("nearest", 0)])
def test_affine_warp_equals_scipy(images, warp, interpolation, order):
    warped = warp(images, MATRICES, interpolation=interpolation).numpy()
    for image, matrix, found in zip(images, MATRICES, warped, strict=True):
        for channel in range(SHAPE[-1]):
            expected = ndimage.affine_transform(image[..., channel], matrix[:, :2], matrix[:, 2], order=order,
                                                mode="grid-constant")
            np.testing.assert_allclose(found[..., channel], expected, atol=1e-3)


@pytest.mark.parametrize("warp", modes(addons.warp_dense), ids=["eager", "tf.data"])
def test_dense_warp_equals_scipy(images, warp):
    displacement = np.random.default_rng(1).normal(0, 3, (*SHAPE[:3], 2)).astype(np.float32)
    warped = warp(images, displacement).numpy()
    grid = np.stack(np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[2]), indexing="ij"))
    for image, moved, found in zip(images, displacement, warped, strict=True):
        for channel in range(SHAPE[-1]):
            expected = ndimage.map_coordinates(image[..., channel], grid + np.moveaxis(moved, -1, 0), order=1,
                                               mode="grid-constant")
            np.testing.assert_allclose(found[..., channel], expected, atol=1e-3)


def test_warps_that_move_nothing_change_nothing(images):
    identity = np.tile(np.eye(2, 3, dtype=np.float32), (2, 1, 1))
    np.testing.assert_array_equal(addons.warp_affine(images, identity), images)
    np.testing.assert_allclose(addons.warp_dense(images, np.zeros((*SHAPE[:3], 2), np.float32)), images, atol=1e-5)


def test_affine_warp_reads_from_where_the_matrix_points():
    image = np.zeros((1, 5, 7, 1), np.float32)
    image[0, 1, 5, 0] = 1.0
    moved = addons.warp_affine(image, np.array([[[1, 0, -2], [0, 1, 3]]], np.float32)).numpy()
    assert np.argwhere(moved[0, ..., 0]).tolist() == [[3, 2]]  # reads (3 - 2, 2 + 3)


def test_tensorflow_addons_is_used_where_it_is_installed():
    try:
        import tensorflow_addons  # noqa: F401
    except ImportError:
        assert addons.tfa is None
        assert hasattr(tf.keras, "ops")
    else:
        assert addons.tfa is not None
