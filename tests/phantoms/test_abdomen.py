"""Tests abdominal phantoms: the same seed gives the same patient, and each kind of case has its feature."""

import cc3d
import numpy as np
import pytest

from kits_tf import labels
from kits_tf.phantoms.abdomen import HARD_KINDS, ORDINARY, Scanner, draw_abdomen, kind_of

SMALL = Scanner(size_voxels=128, slice_mm=(5.0, 5.0))
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def cases():
    """Dict {(kind, seed): (ct, labels)}; each case is drawn once."""
    drawn = {}

    def case(kind, seed):
        if (kind, seed) not in drawn:
            drawn[kind, seed] = draw_abdomen((seed, 7), kind, SMALL)
        return drawn[kind, seed]

    return case


def components_ml(volume, mask):
    """Returns the volumes of the mask's components in ml, largest first."""
    found = cc3d.connected_components(mask, connectivity=26)
    return sorted((np.bincount(found.ravel())[1:] * volume.voxel_ml).tolist(), reverse=True)


def extent_mm(volume, mask):
    """Returns the size of the mask's box along (z, y, x), in mm."""
    return (np.ptp(np.argwhere(mask), axis=0) + 1) * volume.spacing_mm


def test_same_seed_draws_the_same_voxels_and_another_seed_another_patient():
    scanner = Scanner(size_voxels=64, slice_mm=(8.0, 8.0))
    first, first_labels = draw_abdomen((3, 1), ORDINARY, scanner)
    again, again_labels = draw_abdomen((3, 1), ORDINARY, scanner)
    other, _ = draw_abdomen((4, 1), ORDINARY, scanner)
    assert np.array_equal(first.voxels, again.voxels)
    assert np.array_equal(first_labels.voxels, again_labels.voxels)
    assert first.voxels.shape != other.voxels.shape or not np.array_equal(first.voxels, other.voxels)


def test_a_finer_grid_shows_the_same_kidneys():
    volumes_ml = []
    for size in (96, 192):
        _, drawn = draw_abdomen((3, 1), ORDINARY, Scanner(size, (4.0, 4.0)))
        volumes_ml.append(labels.foreground(drawn.voxels).sum() * drawn.voxel_ml)
    assert volumes_ml[0] == pytest.approx(volumes_ml[1], rel=0.03)


@pytest.mark.parametrize("start", [0, 5, 31])
def test_any_twelve_cases_in_a_row_hold_every_hard_kind(start):
    kinds = [kind_of(index) for index in range(start, start + 12)]
    assert set(kinds) == {ORDINARY, *HARD_KINDS}
    assert kinds.count(ORDINARY) == 7


def test_any_six_cases_in_a_row_hold_a_hard_kind():
    for start in range(12):
        assert {kind_of(index) for index in range(start, start + 6)} & set(HARD_KINDS)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [ORDINARY, *HARD_KINDS])
def test_every_case_has_a_kidney_and_a_tumor_that_touch_and_end_inside_the_scan(cases, kind, seed):
    ct, drawn = cases(kind, seed)
    assert ct.voxels.dtype == np.int16
    assert drawn.voxels.dtype == np.uint8
    assert ct.voxels.shape == drawn.voxels.shape
    assert set(np.unique(drawn.voxels)) == {labels.BACKGROUND, labels.KIDNEY, labels.TUMOR}
    mask = labels.foreground(drawn.voxels)
    # A tumor is part of a kidney: no component of the foreground is only tumor.
    assert all(ml > 50 for ml in components_ml(drawn, mask))
    assert not any(np.take(mask, end, axis=axis).any() for axis in range(3) for end in (0, -1))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("kind", "kidneys"), [
    (ORDINARY, 2), ("tiny", 2), ("two_tumors", 2), ("giant", 2), ("single", 1), ("horseshoe", 1)])
def test_kidneys_are_as_many_as_the_kind_says(cases, kind, kidneys, seed):
    _, drawn = cases(kind, seed)
    assert len(components_ml(drawn, labels.foreground(drawn.voxels))) == kidneys


@pytest.mark.parametrize("seed", SEEDS)
def test_a_single_kidney_lies_on_one_side_and_fused_ones_on_both(cases, seed):
    _, single = cases("single", seed)
    _, fused = cases("horseshoe", seed)
    assert extent_mm(single, labels.foreground(single.voxels))[2] < 100
    assert extent_mm(fused, labels.foreground(fused.voxels))[2] > 150


@pytest.mark.parametrize("seed", SEEDS)
def test_a_giant_tumor_fits_no_125_mm_crop(cases, seed):
    _, drawn = cases("giant", seed)
    found = cc3d.connected_components(labels.foreground(drawn.voxels), connectivity=26)
    assert max(extent_mm(drawn, found == kidney)[1:].max() for kidney in (1, 2)) > 125


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tiny_tumor_has_the_volume_of_kits19s_smallest(cases, seed):
    _, drawn = cases("tiny", seed)
    (tumor_ml,) = components_ml(drawn, labels.tumor(drawn.voxels))
    assert 1.2 < tumor_ml < 3.5


@pytest.mark.parametrize("seed", SEEDS)
def test_two_tumors_are_two(cases, seed):
    _, drawn = cases("two_tumors", seed)
    assert len(components_ml(drawn, labels.tumor(drawn.voxels))) == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_tissues_have_plausible_hounsfield_units(cases, seed):
    ct, drawn = cases(ORDINARY, seed)
    tumor_hu = ct.voxels[drawn.voxels == labels.TUMOR].mean()
    kidney_hu = ct.voxels[drawn.voxels == labels.KIDNEY].mean()
    assert 20 < tumor_hu < 140
    assert tumor_hu + 25 < kidney_hu < 230
    assert ct.voxels.min() == -1024
    assert 400 < ct.voxels.max() < 2000  # bone, seen through 3 mm pixels
    body = ct.voxels > -300
    fat = (ct.voxels > -140) & (ct.voxels < -60)
    assert 0.1 < fat.sum() / body.sum() < 0.7


def test_no_threshold_tells_tumor_from_the_rest(cases):
    ct, drawn = cases(ORDINARY, 0)
    tumor = ct.voxels[drawn.voxels == labels.TUMOR]
    low, high = np.percentile(tumor, [10, 90])
    alike = (ct.voxels > low) & (ct.voxels < high) & (drawn.voxels != labels.TUMOR)
    assert alike.sum() > 10 * tumor.size


@pytest.mark.parametrize("seed", SEEDS)
def test_liver_lies_on_the_patients_right_and_spine_behind_the_kidneys_front(cases, seed):
    ct, drawn = cases(ORDINARY, seed)
    middle_z = int(np.argwhere(drawn.voxels)[:, 0].min()) - 4  # above the kidneys: liver right, stomach and spleen left
    plane = ct.voxels[max(middle_z, 0)]
    rows, columns = np.nonzero((plane > 60) & (plane < 150))
    bone_rows, bone_columns = np.nonzero((ct.voxels > 400).any(axis=0))
    inside = np.abs(rows - bone_rows.mean()) < 30
    world_x = [(ct.affine @ (0, row, column, 1))[0] for row, column in
               zip(rows[inside], columns[inside], strict=True)]
    spine_x = (ct.affine @ (0, 0, np.median(bone_columns), 1))[0]
    assert np.mean(np.array(world_x) > spine_x) > 0.53  # RAS+: more is to the right
    kidney_y = np.argwhere(drawn.voxels == labels.KIDNEY)[:, 1].mean()
    world_y = [(ct.affine @ (0, row, 0, 1))[1] for row in (bone_rows.max(), kidney_y)]
    assert world_y[0] < world_y[1]  # spinous processes behind


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="pelvic"):
        draw_abdomen(0, "pelvic", SMALL)


@pytest.mark.parametrize(("fields", "value"), [
    ({"size_voxels": 8}, "8"), ({"slice_mm": (5.0, 1.0)}, "5.0"), ({"slice_mm": (0.0, 1.0)}, "0.0")])
def test_scanner_settings_out_of_range_are_named(fields, value):
    with pytest.raises(ValueError, match=value):
        Scanner(**fields)
