"""Tests the effect of augmentation on an example, one setting at a time."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from kits_tf.config import AugmentConfig
from kits_tf.inputs import augment

SHAPE, SPACING_MM = (22, 30), (3.0, 1.0)
SEED = tf.constant([5, 7])
NOTHING = AugmentConfig()


def blobs(batch=6):
    """Returns images and masks; every example has one off-center disc."""
    y, x = np.meshgrid(*(np.arange(size) for size in SHAPE), indexing="ij")
    disc = ((y - 8) ** 2 + (x - 18) ** 2 < 25).astype(np.float32)
    return np.stack([np.tile(disc * 0.7, (batch, 1, 1)), np.tile(disc, (batch, 1, 1))], axis=-1)


def warp(config, jitter=(0, 0), axes="yx", planes=None, seed=SEED):
    planes = blobs() if planes is None else planes
    return augment.warp(tf.constant(planes), config, seed, augment.Plane(axes, SPACING_MM, jitter)).numpy()


def test_defaults_change_nothing():
    np.testing.assert_array_equal(warp(NOTHING), blobs())
    images = tf.random.stateless_uniform((3, 4, 5, 1), SEED)
    np.testing.assert_array_equal(augment.vary_intensity(images, NOTHING, SEED), images)


@pytest.mark.parametrize("change", [
    {"flip_x": True}, {"flip_y": True}, {"rotate_degrees": 20.0}, {"scale": 0.3}, {"shear": 0.3},
    {"elastic_voxels": 2.0}], ids=lambda change: next(iter(change)))
def test_every_geometric_field_moves_image_and_mask_together(change):
    moved = warp(AugmentConfig(**change))
    assert max(np.abs(after - before).max() for after, before in zip(moved, blobs(), strict=True)) > 0.5
    np.testing.assert_allclose(moved[..., 0], 0.7 * moved[..., 1], atol=1e-5)
    assert len({example.tobytes() for example in moved}) > 1  # examples move differently


@pytest.mark.parametrize("change", [{"brightness": 0.2}, {"contrast": 0.5}, {"gamma": 0.5}, {"noise": 0.1},
                                    {"blur_voxels": 3.0}, {"low_resolution": 1.0}],
                         ids=lambda change: next(iter(change)))
def test_every_intensity_field_changes_images_within_0_and_1(change):
    images = tf.random.stateless_uniform((4, 6, 7, 1), SEED)
    varied = augment.vary_intensity(images, AugmentConfig(**change), SEED).numpy()
    differences = np.abs(varied - images.numpy()).max(axis=(1, 2, 3))
    assert (differences > 1e-4).all()
    assert len(set(differences)) == 4
    assert varied.min() >= 0
    assert varied.max() <= 1


def test_flip_x_mirrors_about_half_of_the_examples_left_to_right():
    planes = blobs(40)
    moved = warp(AugmentConfig(flip_x=True), planes=planes)
    flipped = [np.array_equal(after, before[:, ::-1]) for after, before in zip(moved, planes, strict=True)]
    kept = [np.array_equal(after, before) for after, before in zip(moved, planes, strict=True)]
    assert all(a or b for a, b in zip(flipped, kept, strict=True))
    assert 10 < sum(flipped) < 30


def test_a_sagittal_plane_has_no_left_and_right_to_mirror():
    np.testing.assert_array_equal(warp(AugmentConfig(flip_x=True), axes="zy"), blobs())
    moved = warp(AugmentConfig(flip_y=True), axes="zy", planes=blobs(40))
    assert any(np.array_equal(example, blobs(1)[0][:, ::-1]) for example in moved)  # front to back
    assert not any(np.array_equal(example, blobs(1)[0][::-1]) for example in moved)  # never head to feet


def test_jitter_moves_by_whole_voxels_up_to_its_bound():
    planes = np.zeros((200, *SHAPE, 1), np.float32)
    planes[:, 10, 15] = 1.0
    moved = warp(NOTHING, jitter=(2, 3), planes=planes)
    places = np.argwhere(moved[..., 0] == 1.0)
    assert len(places) == 200
    assert set(places[:, 1]) == set(range(8, 13))
    assert set(places[:, 2]) == set(range(12, 19))


def test_rotation_keeps_lengths_in_mm():
    config = AugmentConfig(rotate_degrees=40.0)
    matrices = augment.random_matrices(config, SEED, augment.Rows(8), SHAPE, augment.Plane("zy", SPACING_MM)).numpy()
    for matrix in matrices[:, :, :2]:
        in_mm = np.diag(SPACING_MM) @ matrix @ np.diag(1 / np.array(SPACING_MM))
        np.testing.assert_allclose(in_mm @ in_mm.T, np.eye(2), atol=1e-5)
    assert np.abs(matrices[:, 0, 1]).max() > 0.05


def test_zoom_magnifies_between_its_bounds():
    rows = augment.Rows(500)
    plane = augment.Plane("yx", SPACING_MM)
    matrices = augment.random_matrices(AugmentConfig(scale=0.25), SEED, rows, SHAPE, plane).numpy()
    magnified = 1 / matrices[:, 0, 0]
    assert 0.75 <= magnified.min() < 0.78
    assert 1.22 < magnified.max() <= 1.25


def test_the_center_stays_where_it_is():
    config = AugmentConfig(rotate_degrees=30.0, scale=0.2, shear=0.2, flip_x=True, flip_y=True)
    matrices = augment.random_matrices(config, SEED, augment.Rows(20), SHAPE, augment.Plane("yx", SPACING_MM)).numpy()
    centre = (np.array(SHAPE) - 1) / 2
    np.testing.assert_allclose(matrices[:, :, :2] @ centre + matrices[:, :, 2], np.tile(centre, (20, 1)), atol=1e-4)


def test_elastic_displacement_has_the_asked_deviation_in_mm():
    field = augment._elastic(AugmentConfig(elastic_voxels=2.0), SEED, augment.Rows(300), (50, 50), (4.0, 1.0)).numpy()
    assert field[..., 1].std() == pytest.approx(2.0, rel=0.35)  # smoothing between control points reduces it
    assert field[..., 0].std() * 4.0 == pytest.approx(field[..., 1].std(), rel=0.1)


def test_blur_is_scipys_and_as_wide_in_mm_along_either_axis():
    image = np.random.default_rng(0).random((1, *SHAPE, 1)).astype(np.float32)
    config = AugmentConfig(blur_voxels=4.0)
    (sigma,) = augment._uniform(augment.split(SEED, 6)[3], augment.Rows(1), 0.0, 4.0).numpy()
    blurred = augment.vary_intensity(image, config, SEED, SPACING_MM).numpy()[0, ..., 0]
    inside = np.s_[6:-6, 10:-10]  # at the edges it averages fewer voxels, SciPy mirrored ones
    expected = ndimage.gaussian_filter(image[0, ..., 0], (sigma / 3.0, sigma), truncate=20)
    np.testing.assert_allclose(blurred[inside], expected[inside], atol=2e-3)


def test_low_resolution_keeps_slopes_and_averages_what_is_finer_than_a_wide_voxel():
    slope = np.tile(np.linspace(0.2, 0.8, SHAPE[1], dtype=np.float32), (40, SHAPE[0], 1))[..., None]
    checks = np.indices(SHAPE).sum(axis=0) % 2
    checks = np.tile(checks.astype(np.float32), (40, 1, 1))[..., None]
    config = AugmentConfig(low_resolution=1.0)
    coarse = augment.vary_intensity(slope, config, SEED).numpy()
    np.testing.assert_allclose(coarse[:, :, 3:-3], slope[:, :, 3:-3], atol=5e-3)
    flat = augment.vary_intensity(checks, config, SEED).numpy()[:, 4:-4, 4:-4].std(axis=(1, 2, 3))
    assert flat.min() < 0.03  # in voxels twice as wide, a checkerboard is gray
    np.testing.assert_allclose(augment._coarsened(9, tf.ones(1))[0], np.eye(9), atol=1e-6)  # same width: unchanged


def test_workers_make_the_rows_of_one_batch_between_them():
    config = AugmentConfig(flip_x=True, rotate_degrees=20.0, scale=0.2, shear=0.1, elastic_voxels=1.0, gamma=0.3,
                           contrast=0.2, brightness=0.1, blur_voxels=1.0, low_resolution=0.5, noise=0.05)
    planes = tf.constant(blobs(6))

    def made(planes, rows):
        moved = augment.warp(planes, config, SEED, augment.Plane("yx", SPACING_MM, (2, 3)), rows)
        rough = augment.roughen(planes[..., 1:], SEED, 2, rows=rows)
        return moved, augment.vary_intensity(planes[..., :1], config, SEED, SPACING_MM, rows), rough

    whole = made(planes, None)
    parts = zip(*(made(planes[first:first + 2], augment.Rows(2, first, 6)) for first in (0, 2, 4)), strict=True)
    for one, others in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, tf.concat(others, axis=0), atol=1e-6)


def test_seed_decides_everything():
    config = AugmentConfig(rotate_degrees=15.0, elastic_voxels=1.0)
    np.testing.assert_array_equal(warp(config), warp(config))
    assert np.abs(warp(config) - warp(config, seed=tf.constant([5, 8]))).max() > 0.1


def test_roughened_masks_differ_but_stay_the_same_kidney():
    masks = blobs(32)[..., 1:]
    rough = augment.roughen(tf.constant(masks), SEED, reach=1).numpy()
    assert set(np.unique(rough)) == {0.0, 1.0}
    both = (masks * rough).sum(axis=(1, 2, 3))
    dice = 2 * both / (masks.sum(axis=(1, 2, 3)) + rough.sum(axis=(1, 2, 3)))
    assert np.median(dice) > 0.75
    assert len({example.tobytes() for example in rough}) > 20
    sizes = rough.sum(axis=(1, 2, 3))
    assert sizes.min() < masks[0].sum() < sizes.max()


def test_no_kidney_stays_no_kidney():
    assert augment.roughen(tf.zeros((4, *SHAPE, 1)), SEED, reach=2).numpy().max() == 0


def test_every_field_of_augmentation_is_implemented():
    tested = {"flip_x", "flip_y", "rotate_degrees", "scale", "shear", "elastic_voxels", "brightness", "contrast",
              "gamma", "noise", "blur_voxels", "low_resolution"}
    assert {field.name for field in dataclasses.fields(AugmentConfig)} == tested
