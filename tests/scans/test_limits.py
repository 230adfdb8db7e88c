"""Tests the size limits of scans, including the largest existing scans."""

import math

import pytest

from kits_tf.config import PRESETS
from kits_tf.errors import InputError
from kits_tf.scans.limits import MOST_NORMALIZED_VOXELS, check_extent, check_grid

PAPER_MM = (3.0, 0.7816, 0.7816)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("shape", "spacing_mm"), [
    ((1059, 512, 512), (0.5, 1.0, 1.0)),  # KiTS19's longest, with the widest pixels
    ((2000, 700, 700), (1.0, 1.0, 1.0)),  # a whole body
    ((1, 1, 1), (0.01, 0.01, 0.01)),
])
def test_the_largest_scans_there_are_pass(preset, shape, spacing_mm):
    check_extent("scan.nii.gz", shape, spacing_mm)
    check_grid(shape, spacing_mm, PRESETS[preset].spacing_mm)


def test_a_grid_beyond_the_limit_names_extent_and_limit():
    assert math.prod((990, 3800, 3800)) > MOST_NORMALIZED_VOXELS
    with pytest.raises(InputError) as caught:
        check_grid((30, 30, 30), (99.0, 99.0, 99.0), PAPER_MM)
    assert str(caught.value) == (
        "the scan measures 2970 x 2970 x 2970 mm (z, y, x) by its voxel spacing, 14295 million voxels at the nets' "
        "3 x 0.7816 x 0.7816 mm; expected at most 1074 million; correct its spacing, or crop it to the abdomen")


def test_an_axis_thinner_than_one_voxel_of_the_nets_counts_as_one():
    with pytest.raises(InputError, match="expected at most 1074 million"):
        check_grid((1, 30000, 30000), (0.01, 1.0, 1.0), PAPER_MM)


@pytest.mark.parametrize(("spacing_mm", "said"), [
    ((3.0, 1000.0, 1000.0), r"its voxel spacing is \[3.0, 1000.0, 1000.0\] mm"),
    ((3.0, 1e-5, 1.0), "its voxel spacing"),
    ((float("nan"), 1.0, 1.0), "its voxel spacing"),
    ((float("inf"), 1.0, 1.0), "its voxel spacing"),
    ((-3.0, 1.0, 1.0), "its voxel spacing"),
    ((3.0, 20.0, 20.0), "is 4000 mm long"),
])
def test_spacing_and_length_are_refused_with_the_path(spacing_mm, said):
    with pytest.raises(InputError, match=f"^a/scan: {said}"):
        check_extent("a/scan", (9, 200, 100), spacing_mm)
