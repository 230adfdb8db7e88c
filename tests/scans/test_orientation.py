"""Tests that any axis order converts to I, P, L and back exactly, with every voxel at its position in the patient."""

import nibabel as nib
import numpy as np
import pytest
from harness.geometries import CODES, affine_of, by_hand, tilted, world_of

from kits_tf.scans.orientation import invert, reorient, reorient_affine, to_canonical_transform
from kits_tf.volume import Volume

ARRAY = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5) * 37 - 1000


def canonical(volume):
    transform = to_canonical_transform(volume.affine)
    affine = reorient_affine(volume.affine, transform, volume.voxels.shape)
    return Volume.from_affine(reorient(volume.voxels, transform), affine), transform


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("tilt", [None, tilted()], ids=["straight", "oblique"])
def test_any_axis_order_becomes_canonical_and_comes_back(codes, tilt):
    affine = affine_of(codes, tilt=tilt)
    volume, transform = canonical(Volume.from_affine(ARRAY, affine))
    assert nib.aff2axcodes(volume.affine) == ("I", "P", "L")
    assert np.array_equal(volume.voxels, by_hand(ARRAY, codes))
    assert volume.voxels.dtype == ARRAY.dtype
    for index in ((0, 0, 0), (2, 1, 3)):  # every value keeps its position
        value = ARRAY[index]
        there = np.argwhere(volume.voxels == value)[0]
        np.testing.assert_allclose(world_of(volume.affine, there), world_of(affine, index), atol=1e-9)
    assert np.array_equal(reorient(volume.voxels, invert(transform)), ARRAY)


def test_the_axes_of_kits19_are_canonical_already():
    affine = np.array([[0, 0, -0.9, 0], [0, -0.9, 0, 0], [-5.0, 0, 0, 0], [0, 0, 0, 1]])  # as in its headers
    transform = to_canonical_transform(affine)
    assert transform.tolist() == [[0, 1], [1, 1], [2, 1]]
    volume, _ = canonical(Volume.from_affine(ARRAY, affine))
    assert np.array_equal(volume.voxels, ARRAY)
    assert np.array_equal(volume.affine, affine)
    assert volume.spacing_mm == (5.0, 0.9, 0.9)


def test_spacing_follows_its_axis():
    volume, _ = canonical(Volume.from_affine(ARRAY, affine_of("LAS", (1.25, 3.0, 0.75))))
    assert volume.spacing_mm == (0.75, 3.0, 1.25)
    assert volume.voxels.shape == (5, 4, 3)


@pytest.mark.parametrize("codes", CODES[::5])
def test_invert_undoes_a_transform_twice_over(codes):
    transform = to_canonical_transform(affine_of(codes))
    assert np.array_equal(invert(invert(transform)), transform)
    assert np.array_equal(reorient(reorient(ARRAY, transform), invert(transform)), ARRAY)


def test_reorienting_changes_no_bit_of_a_float():
    array = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    array[0, 0, 0], array[1, 2, 3] = np.nan, -0.0
    transform = to_canonical_transform(affine_of("PSR"))
    assert reorient(reorient(array, transform), invert(transform)).tobytes() == array.tobytes()
