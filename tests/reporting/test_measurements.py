"""Compares measurements with shapes of known size, with scikit-image, and with the phantoms' plans."""

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from skimage.measure import find_contours, label, marching_cubes, regionprops

from kits_tf.phantoms.abdomen import Scanner, draw_abdomen
from kits_tf.phantoms.kidneys import GIANT, HORSESHOE, SINGLE, TWO_TUMORS
from kits_tf.reporting.measurements import SPECK_ML, add_confidence, largest_diameter_mm, measure
from kits_tf.volume import Volume

SPACING_MM = (3.0, 0.8, 0.9)


def ball(shape, spacing_mm, centre_mm, radius_mm):
    grid = np.meshgrid(*(np.arange(size) * mm for size, mm in zip(shape, spacing_mm, strict=True)), indexing="ij")
    return sum((axis - middle) ** 2 for axis, middle in zip(grid, centre_mm, strict=True)) <= radius_mm**2


def patient(voxels, spacing_mm=SPACING_MM, body=slice(None)):
    """Returns the labels and a CT whose body covers the given columns."""
    hu = np.full(voxels.shape, -1000, np.int16)
    hu[:, :, body] = 40
    return Volume.from_spacing(voxels, spacing_mm), Volume.from_spacing(hu, spacing_mm)


def test_a_block_is_as_long_as_its_diagonal():
    mask = np.zeros((8, 30, 40), bool)
    mask[2:5, 4:24, 10:13] = True
    # Faces lie half a voxel beyond the outermost centers; edges and corners of a block are cut by the same amount.
    along = largest_diameter_mm(mask[3][:, 11:12], (1.0, 1.0))
    assert along == 20.0
    assert 20.0 * 0.8 < largest_diameter_mm(mask[3], (0.8, 0.9)) < np.hypot(20 * 0.8, 3 * 0.9)


@pytest.mark.parametrize("radius_mm", [6.0, 11.5, 20.0])
def test_a_ball_is_twice_its_radius_wide(radius_mm):
    mask = ball((24, 60, 50), SPACING_MM, (36.0, 24.0, 22.0), radius_mm)
    assert largest_diameter_mm(mask, SPACING_MM) == pytest.approx(2 * radius_mm, abs=SPACING_MM[0])
    assert largest_diameter_mm(mask[12], SPACING_MM[1:]) == pytest.approx(2 * radius_mm, abs=0.9)


def ragged(axes, seed):
    """Returns a small ball without a fifth of its voxels."""
    rng = np.random.default_rng(seed)
    shape, spacing_mm = (7, 12, 10)[-axes:], SPACING_MM[-axes:]
    middle_mm = [size * mm / 2 for size, mm in zip(shape, spacing_mm, strict=True)]
    return ball(shape, spacing_mm, middle_mm, rng.uniform(2.5, 5.0)) & (rng.random(shape) < 0.8), spacing_mm


@pytest.mark.parametrize("seed", range(6))
def test_diameters_are_those_between_all_surface_points(seed):
    plane, spacing_mm = ragged(2, seed)
    points = np.vstack(find_contours(np.pad(plane, 1).astype(float), 0.5))
    assert largest_diameter_mm(plane, spacing_mm) == pytest.approx(pdist(points * spacing_mm).max())
    block, spacing_mm = ragged(3, seed)
    points, *_ = marching_cubes(np.pad(block, 1).astype(float), 0.5)
    assert largest_diameter_mm(block, spacing_mm) == pytest.approx(pdist(points * spacing_mm).max())


@pytest.mark.parametrize("axes", [2, 3])
def test_diameters_agree_with_regionprops_within_a_voxel(axes):
    # scikit-image measures the convex hull in voxels, which is a little larger.
    for seed in range(6):
        mask, spacing_mm = ragged(axes, seed)
        (region,) = regionprops(mask.astype(np.uint8), spacing=spacing_mm)
        difference = region.feret_diameter_max - largest_diameter_mm(mask, spacing_mm)
        assert -1e-6 < difference < np.linalg.norm(SPACING_MM[-2:])


def test_an_empty_mask_has_no_diameter():
    assert largest_diameter_mm(np.zeros((3, 4), bool), (1.0, 1.0)) == 0.0


def test_kidneys_are_named_by_side_and_weighed_with_their_tumor():
    voxels = np.zeros((20, 60, 120), np.uint8)
    voxels[4:14, 20:40, 15:35] = 1
    voxels[5:9, 22:32, 20:30] = 2
    voxels[6:16, 20:40, 80:100] = 1
    found = measure(*patient(voxels))
    ml = 3.0 * 0.8 * 0.9 / 1000
    assert found["kidneys"] == [
        {"side": "right", "centre_zyx": [8.5, 29.5, 24.5], "volume_ml": round(4000 * ml, 2),
         "tumor_ml": round(400 * ml, 2), "tumor_share": 0.1},
        {"side": "left", "centre_zyx": [10.5, 29.5, 89.5], "volume_ml": round(4000 * ml, 2), "tumor_ml": 0.0,
         "tumor_share": 0.0}]
    (tumor,) = found["tumors"]
    assert (tumor["side"], tumor["volume_ml"], tumor["slice"]) == ("right", round(400 * ml, 2), 5)
    assert 9.0 < tumor["diameter_axial_mm"] < np.hypot(8.0, 9.0)
    assert tumor["diameter_axial_mm"] < tumor["diameter_mm"] < np.linalg.norm([12.0, 8.0, 9.0])


def test_the_midline_is_the_bodys_not_the_scans():
    voxels = np.zeros((10, 40, 120), np.uint8)
    voxels[2:8, 10:30, 52:70] = 1
    assert measure(*patient(voxels))["kidneys"][0]["side"] == "both"
    assert measure(*patient(voxels, body=slice(40, 120)))["kidneys"][0]["side"] == "right"
    assert measure(*patient(voxels, body=slice(0, 80)))["kidneys"][0]["side"] == "left"


def test_tumors_come_largest_first_and_specks_not_at_all():
    voxels = np.zeros((20, 60, 60), np.uint8)
    voxels[2:18, 10:50, 10:30] = 1
    voxels[4:6, 12:20, 12:20] = 2
    voxels[10:15, 20:40, 12:26] = 2
    voxels[17, 48, 28] = 2
    volumes = [tumor["volume_ml"] for tumor in measure(*patient(voxels))["tumors"]]
    assert volumes == [round(count * 3.0 * 0.8 * 0.9 / 1000, 2) for count in (1400, 128)]


def pieces(mask, volume):
    """Returns the volumes of a mask's components without specks, in ml, largest first, by scikit-image."""
    volumes = [region.num_pixels * volume.voxel_ml for region in regionprops(label(mask, connectivity=3))]
    return sorted((ml for ml in volumes if ml >= SPECK_ML), reverse=True)


@pytest.mark.parametrize(("kind", "sides"), [(SINGLE, 1), (TWO_TUMORS, 2), (HORSESHOE, 1), (GIANT, 2)])
def test_a_drawn_patients_numbers_are_those_that_scikit_image_counts(kind, sides):
    ct, labels = draw_abdomen(11, kind, Scanner(size_voxels=128, slice_mm=(4, 4)))
    found = measure(labels, ct)
    for name, mask in (("kidneys", labels.voxels > 0), ("tumors", labels.voxels == 2)):
        volumes = sorted((one["volume_ml"] for one in found[name]), reverse=True)
        np.testing.assert_allclose(volumes, pieces(mask, labels), atol=0.006)
    assert len(found["kidneys"]) == sides
    assert [kidney["side"] for kidney in found["kidneys"]] in (["right"], ["left"], ["both"], ["right", "left"])
    for kidney in found["kidneys"]:
        assert kidney["tumor_share"] == pytest.approx(kidney["tumor_ml"] / kidney["volume_ml"], abs=1e-3)
    for tumor in found["tumors"]:  # between the diameter of a ball of this volume and twice that
        ball_mm = 2 * (0.75 * 1000 * tumor["volume_ml"] / np.pi) ** (1 / 3)
        assert ball_mm < tumor["diameter_mm"] < 2 * ball_mm
        assert tumor["diameter_axial_mm"] <= tumor["diameter_mm"] + 0.1


def test_nothing_found_is_two_empty_lists():
    assert measure(*patient(np.zeros((4, 10, 12), np.uint8))) == {"kidneys": [], "tumors": []}


def test_thousands_of_specks_take_no_memory_of_their_own():
    voxels = np.zeros((60, 120, 120), np.uint8)
    voxels[::2, ::2, ::2] = 2  # 108,000 tumors of one voxel, each a component of its own
    voxels[10:30, 20:60, 20:60] = 1
    labels, ct = patient(voxels)
    tracemalloc.start()
    found = measure(labels, ct)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(found["kidneys"]), len(found["tumors"])] == [1, 0]
    assert peak < 100 * voxels.size  # a mask for each would need a thousand times as much


def test_each_finding_takes_the_confidence_of_the_cascades_nearest_component():
    voxels = np.zeros((20, 60, 120), np.uint8)
    voxels[4:14, 20:40, 15:35] = 1
    voxels[6:16, 20:40, 80:100] = 1
    voxels[5:9, 22:32, 20:30] = 2
    found = measure(*patient(voxels))
    near = {"centre_zyx": [9.0, 30.0, 25.0], "confidence": 0.9}
    far = {"centre_zyx": [10.0, 29.0, 90.0], "confidence": 0.4}
    add_confidence(found, {"kidneys_found": [far, near], "tumors_found": []})
    assert [kidney["confidence"] for kidney in found["kidneys"]] == [0.9, 0.4]
    assert "confidence" not in found["tumors"][0]
