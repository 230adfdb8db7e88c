"""Tests Volume: spacing from any affine, voxels as int16, and errors."""

import nibabel as nib
import numpy as np
import pytest

from kits_tf.volume import Volume, skew_degrees, spacing_of, to_int16

VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def turn(degrees, first, second):
    """Returns a rotation in the plane of two world axes."""
    matrix = np.eye(3)
    angle = np.deg2rad(degrees)
    matrix[[first, first, second, second], [first, second, first, second]] = (
        np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
    return matrix


def test_spacing_of_an_oblique_affine_is_its_columns_norms():
    affine = np.eye(4)
    affine[:3, :3] = turn(30, 0, 1) @ turn(50, 1, 2) @ np.diag((3.0, -0.7816, 1.25))
    affine[:3, 3] = -120.0, 33.0, 7.5
    assert spacing_of(affine) == (3.0, 0.7816, 1.25)
    assert Volume.from_affine(VOXELS, affine).spacing_mm == (3.0, 0.7816, 1.25)
    assert abs(affine[0, 0]) < 2.7  # the diagonal would give a wrong spacing


def test_spacing_is_rounded_to_a_tenth_of_a_micrometer():
    assert spacing_of(np.diag(np.float32([0.7816, 5.0, 0.1, 1.0]))) == (0.7816, 5.0, 0.1)


def test_a_sheared_axis_is_as_long_as_its_step():
    affine = np.eye(4)
    affine[:3, 0] = 0.0, 4.0, 3.0  # a tilted gantry: 3-4-5
    affine[:3, 1] = 0.0, -2.0, 0.0
    affine[:3, 2] = -1.0, 0.0, 0.0
    assert spacing_of(affine) == (5.0, 2.0, 1.0)
    assert skew_degrees(affine) == pytest.approx(np.degrees(np.arcsin(4 / 5)))


def test_an_oblique_affine_is_not_skewed():
    affine = np.eye(4)
    affine[:3, :3] = turn(30, 0, 1) @ turn(50, 1, 2) @ np.diag((3.0, -0.7816, 1.25))
    assert skew_degrees(affine) < 1e-5


def test_a_volume_from_spacing_is_canonical_and_starts_at_the_origin():
    volume = Volume.from_spacing(VOXELS, (5, 2, 1.5))
    assert nib.aff2axcodes(volume.affine) == ("I", "P", "L")
    assert spacing_of(volume.affine) == volume.spacing_mm == (5.0, 2.0, 1.5)
    assert volume.affine[:3, 3].tolist() == [0, 0, 0]
    # The next slice is 5 mm toward the feet, the next column 1.5 mm to the patient's left.
    assert (volume.affine @ [1, 0, 0, 1]).tolist() == [0, 0, -5, 1]
    assert (volume.affine @ [0, 0, 1, 1]).tolist() == [-1.5, 0, 0, 1]


def test_volume_of_a_voxel_is_in_milliliters():
    assert Volume.from_spacing(VOXELS, (5.0, 2.0, 4.0)).voxel_ml == pytest.approx(0.04)


def test_other_voxels_keep_the_place():
    volume = Volume.from_spacing(VOXELS, (5.0, 2.0, 1.5))
    other = volume.with_voxels(np.zeros((4, 5, 6), np.uint8))
    assert other.voxels.dtype == np.uint8
    assert other.affine is volume.affine
    assert volume.voxels is VOXELS


def test_other_voxels_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(6, 5, 4\)"):
        Volume.from_spacing(VOXELS, (5.0, 2.0, 1.5)).with_voxels(VOXELS.T)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6, 1), (4, 0, 6)])
def test_voxels_that_are_no_3d_block_name_their_shape(shape):
    with pytest.raises(ValueError) as caught:
        Volume.from_spacing(np.zeros(shape), (1.0, 1.0, 1.0))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("wrong", [0.0, -1.5, float("nan"), float("inf")])
def test_a_spacing_that_is_no_length_names_itself(wrong):
    with pytest.raises(ValueError, match=str(wrong).replace("-", r"\-")):
        Volume(VOXELS, (3.0, wrong, 1.0), np.eye(4))


SINGULAR = {"flat": np.diag([1.0, 2.0, 0.0, 1.0]),
            "two axes alike": np.array([[1.0, 1.0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]),
            "not finite": np.diag([1.0, np.nan, 1.0, 1.0]), "3x3": np.eye(3)}


@pytest.mark.parametrize("kind", SINGULAR)
def test_an_affine_that_places_nothing_is_refused(kind):
    with pytest.raises(ValueError, match="affine must"):
        Volume(VOXELS, (1.0, 1.0, 1.0), SINGULAR[kind])


@pytest.mark.parametrize("affine", [np.diag([1.0, 2.0, 0.0, 1.0]), np.diag([1.0, np.inf, 1.0, 1.0])])
def test_a_spacing_read_off_a_senseless_affine_is_refused(affine):
    with pytest.raises(ValueError, match="must"):
        Volume.from_affine(VOXELS, affine)


def test_voxels_become_int16_by_rounding_and_clipping():
    voxels = np.array([[[1.6, -1.6, 0.4, 1e9, -1e9, 32767.4]]], np.float32)
    assert to_int16(voxels).tolist() == [[[2, -2, 0, 32767, -32768, 32767]]]
    assert to_int16(np.array([[[40000, -40000, 7]]])).tolist() == [[[32767, -32768, 7]]]
    assert to_int16(VOXELS) is VOXELS
