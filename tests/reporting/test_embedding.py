"""Tests what a page embeds: the reduced volumes lie where the scan lies, and fit."""

import base64
import gzip

import nibabel as nib
import numpy as np
import pytest
from harness.patients import ball

from kits_tf.reporting import embedding
from kits_tf.reporting.embedding import body_box, embed
from kits_tf.volume import Volume

# Oblique by about 10 degrees, 4 x 1.5 x 0.8 mm, so that every number of the affine counts.
AFFINE = np.array([[0.6, -0.15, -0.78, 31.0], [0.5, -1.48, 0.16, -12.0], [-3.92, -0.2, -0.07, 77.0], [0, 0, 0, 1]])


def scan():
    """A noisy body in air above a thin table, and its labels: a kidney around a tumor."""
    shape = (24, 90, 130)
    body = ball(shape, (11, 40, 60), (40, 30, 45))
    hu = np.where(body, 40, -1020) + np.random.default_rng(0).normal(0, 10, shape)
    hu[:, 82:84, 10:120] = 100
    labels = ball(shape, (10, 45, 80), (6, 12, 14)).astype(np.uint8)
    labels[ball(shape, (12, 45, 84), (3, 7, 6))] = 2
    return Volume.from_affine(hu.astype(np.int16), AFFINE), Volume.from_affine(labels, AFFINE)


def images(volumes):
    """Returns {kind: nibabel image}."""
    return {volume["kind"]: nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(volume["base64"])))
            for volume in volumes}


def middle_mm(mask, affine):
    return (affine @ [*np.argwhere(mask).mean(axis=0), 1])[:3]


def test_a_small_scan_is_cropped_to_the_body_and_keeps_its_voxels():
    ct, labels = scan()
    volumes, note = embed(ct, labels)
    found = images(volumes)
    box = body_box(ct, labels)
    expected = np.maximum(ct.voxels[box], -1000).transpose(2, 1, 0)
    assert np.abs(np.asarray(found["scan"].dataobj) - expected).max() <= embedding.STEP_HU / 2
    assert np.array_equal(np.asarray(found["labels"].dataobj), labels.voxels[box].transpose(2, 1, 0))
    for image in found.values():
        for voxel in ((0, 0, 0), (20, 5, 3)):
            z, y, x = (first.start + index for first, index in zip(box, voxel[::-1], strict=True))
            assert image.affine @ [*voxel, 1] == pytest.approx(AFFINE @ [z, y, x, 1], abs=1e-4)
    x, y, z = (side.stop - side.start for side in reversed(box))
    assert f"cropped to the body ({x} x {y} x {z} of 130 x 90 x 24 voxels), in steps of 4 HU" in note


def test_the_crop_leaves_the_table_out_and_all_labels_in():
    ct, labels = scan()
    z, y, x = body_box(ct, labels)
    assert z == slice(0, 24) and y.stop < 82 and y.start <= 10 and x.start <= 15 and x.stop >= 105
    labels.voxels[3, 88, 128] = 1
    z, y, x = body_box(ct, labels)
    assert y.stop > 88 and x.stop > 128
    ct.voxels[:, 10:65, 0:12] = 40  # a second piece of body
    assert body_box(ct, labels)[2].start == 0
    air = ct.with_voxels(np.full_like(ct.voxels, -1000))
    assert body_box(air, labels) == tuple(slice(0, size) for size in ct.voxels.shape)


@pytest.mark.parametrize("limits", [{"MOST_VOXELS": 20_000}, {"MOST_BYTES": 20_000}])
def test_a_large_scan_gets_a_coarser_grid_at_the_same_place(monkeypatch, limits):
    for name, value in limits.items():
        monkeypatch.setattr(embedding, name, value)
    ct, labels = scan()
    volumes, note = embed(ct, labels, labels)
    found = images(volumes)
    assert list(found) == ["scan", "labels", "truth"]
    assert len(base64.b64decode(volumes[0]["base64"])) <= embedding.MOST_BYTES
    assert 5000 < np.prod(found["scan"].shape) <= embedding.MOST_VOXELS
    assert {(image.shape, image.affine.tobytes()) for image in found.values()} == {
        (found["scan"].shape, found["scan"].affine.tobytes())}
    step_mm = nib.affines.voxel_sizes(found["scan"].affine)
    assert step_mm[0] == pytest.approx(step_mm[1], rel=0.1)  # 0.8 mm grew most
    for value in (1, 2):
        mask, expected = np.asarray(found["labels"].dataobj) >= value, labels.voxels >= value
        assert middle_mm(mask, found["labels"].affine) == pytest.approx(middle_mm(expected, AFFINE), abs=0.7)
        ml = mask.sum() * np.prod(step_mm) / 1000
        assert ml == pytest.approx(expected.sum() * labels.voxel_ml, rel=0.12)
    hu = np.asarray(found["scan"].dataobj)
    assert middle_mm(hu > -300, found["scan"].affine) == pytest.approx(
        middle_mm(ct.voxels[body_box(ct, labels)] > -300, AFFINE) + AFFINE[:3, :3] @ [
            side.start for side in body_box(ct, labels)], abs=0.5)
    x_mm, y_mm, z_mm = (round(float(mm), 2) for mm in step_mm)
    assert f"at {x_mm:g} x {y_mm:g} x {z_mm:g} mm instead of 0.8 x 1.5 x 4 mm" in note


def test_no_labels_and_values_that_are_no_hounsfield_units_are_embedded():
    gray = Volume.from_affine(np.linspace(0, 60000, 6 * 7 * 8).reshape(6, 7, 8).astype(np.float32), AFFINE)
    volumes, _ = embed(gray, gray.with_voxels(np.zeros((6, 7, 8), np.uint8)))
    found = images(volumes)
    assert not np.asarray(found["labels"].dataobj).any()
    assert np.asarray(found["scan"].dataobj).max() == 60000
