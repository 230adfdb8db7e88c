"""Tests surface Dice by hand and against brute force: areas from marching cubes, distances of all pairs."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from skimage.measure import marching_cubes

from kits_tf.box import common_box
from kits_tf.evaluation.surface import TOLERANCES_MM, mass_surface_dice, surface_dice, surface_scores


def box(z, y, x, shape=(16, 18, 20)):
    mask = np.zeros(shape, bool)
    mask[slice(*z), slice(*y), slice(*x)] = True
    return mask


def box_area(a, b, c):
    """Returns the areas (flat faces, total) of a box of a x b x c voxels of 1 mm, with marching cubes' chamfers."""
    faces = 2.0 * ((a - 1) * (b - 1) + (b - 1) * (c - 1) + (a - 1) * (c - 1))
    edges = 4.0 * ((a - 1) + (b - 1) + (c - 1)) * np.sqrt(0.5)
    return faces, faces + edges + 8.0 * np.sqrt(3) / 8.0


def brute_force(truth, predicted, spacing_mm, tolerance_mm):
    """Scores with one point per cell of 2x2x2 voxels that has both classes, weighted by marching cubes' area."""
    points, areas = zip(*(_surface(mask, spacing_mm) for mask in (truth, predicted)), strict=True)
    distances = cdist(points[0], points[1])
    near = distances.min(axis=1) <= tolerance_mm, distances.min(axis=0) <= tolerance_mm
    return sum(area[hit].sum() for area, hit in zip(areas, near, strict=True)) / sum(area.sum() for area in areas)


def _surface(mask, spacing_mm):
    padded = np.pad(mask, 1).astype(np.float32)
    corners, faces, _, _ = marching_cubes(padded, 0.5, method="lorensen")
    triangles = corners[faces]
    cells = np.floor(triangles.mean(axis=1)).astype(int)
    a, b, c = np.moveaxis(triangles * np.asarray(spacing_mm), 1, 0)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    cells, owner = np.unique(cells, axis=0, return_inverse=True)
    return cells * np.asarray(spacing_mm), np.bincount(owner.ravel(), areas)


def test_same_masks_score_1():
    mask = box((2, 8), (3, 9), (4, 12))
    assert surface_dice(mask, mask, (3.0, 0.8, 0.8), [0.0, 1.0]) == [1.0, 1.0]


def test_box_one_voxel_larger_all_round_misses_its_edges_only():
    truth, predicted = box((4, 8), (4, 9), (4, 10)), box((3, 9), (3, 10), (3, 11))
    _, truth_area = box_area(4, 5, 6)
    faces, predicted_area = box_area(6, 7, 8)  # faces lie 1 mm apart, edges 1.41 mm, corners 1.73 mm
    expected = (truth_area + faces) / (truth_area + predicted_area)
    assert surface_dice(truth, predicted, (1.0, 1.0, 1.0), [1.05]) == [pytest.approx(expected)]


def test_box_two_voxels_larger_all_round_scores_0():
    truth, predicted = box((4, 8), (4, 9), (4, 10)), box((2, 10), (2, 11), (2, 12))
    assert surface_dice(truth, predicted, (1.0, 1.0, 1.0), [1.15]) == [0.0]


@pytest.mark.parametrize(("spacing_mm", "perfect"), [((1.0, 5.0, 5.0), True), ((2.0, 5.0, 5.0), True),
                                                     ((2.1, 5.0, 5.0), False), ((5.0, 1.0, 5.0), False)])
def test_shift_of_one_slice_costs_nothing_if_slices_are_no_thicker_than_the_tolerance_of_2_mm(spacing_mm, perfect):
    truth, predicted = box((4, 8), (4, 9), (4, 10)), box((5, 9), (4, 9), (4, 10))
    found, = surface_dice(truth, predicted, spacing_mm, [2.0])
    assert (found == 1.0) == perfect
    assert found > 0.1


def test_mask_that_fills_the_scan_has_a_surface_at_its_edge():
    truth, predicted = np.ones((3, 4, 5), bool), np.ones((3, 4, 5), bool)
    predicted[:, :, 2:] = False
    inside = np.pad(truth, 4), np.pad(predicted, 4)
    alone = surface_dice(truth, predicted, (1.0, 1.0, 1.0), [1.0])
    assert alone == surface_dice(*inside, (1.0, 1.0, 1.0), [1.0])
    assert 0.0 < alone[0] < 1.0


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (3.0, 0.78, 0.78), (0.5, 0.9, 0.7)])
def test_ellipsoids_score_as_by_brute_force(spacing_mm):
    z, y, x = np.ogrid[:14, :16, :18]
    truth = ((z - 6) / 5) ** 2 + ((y - 7) / 6) ** 2 + ((x - 8) / 7) ** 2 <= 1
    predicted = ((z - 7) / 4) ** 2 + ((y - 7.5) / 6) ** 2 + ((x - 10) / 6) ** 2 <= 1
    tolerances = list(TOLERANCES_MM.values())
    expected = [brute_force(truth, predicted, spacing_mm, mm) for mm in tolerances]
    assert surface_dice(truth, predicted, spacing_mm, tolerances) == pytest.approx(expected, abs=1e-6)


def test_both_empty_scores_1_and_one_empty_0():
    empty, kidney = np.zeros((4, 5, 6), np.uint8), np.zeros((4, 5, 6), np.uint8)
    kidney[1:3, 1:3, 1:4] = 1
    columns = "kidney_and_mass_surface_dice", "tumor_surface_dice"
    spacing_mm = (3.0, 0.8, 0.8)
    assert surface_scores(empty, empty, spacing_mm) == dict.fromkeys(columns, 1.0)
    assert surface_scores(kidney, empty, spacing_mm) == dict(zip(columns, (0.0, 1.0), strict=True))
    assert surface_scores(kidney, 2 * kidney, spacing_mm) == dict(zip(columns, (1.0, 0.0), strict=True))


def test_tumor_shifted_by_1_14_mm_is_within_the_tumors_tolerance_but_not_the_masss():
    truth, predicted = np.zeros((2, 10, 12, 14), np.uint8)
    truth[2:6, 2:8, 2:8], predicted[3:7, 2:8, 2:8] = 2, 2
    scores = surface_scores(truth, predicted, (1.14, 5.0, 5.0))
    assert scores["tumor_surface_dice"] == 1.0
    mass = mass_surface_dice(truth == 2, predicted == 2, (1.14, 5.0, 5.0))
    assert mass == scores["kidney_and_mass_surface_dice"] < 0.9


def test_common_box_holds_both_masks_and_nothing_more():
    found = common_box(box((2, 3), (5, 8), (1, 4)), box((6, 9), (4, 6), (10, 12)))
    assert found == (slice(2, 9), slice(4, 8), slice(1, 12))
    assert common_box(np.zeros((3, 4, 5), bool)) is None


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 5, 6\)"):
        surface_dice(np.ones((4, 5, 6), bool), np.ones((1, 5, 6), bool), (1.0, 1.0, 1.0), [1.0])
