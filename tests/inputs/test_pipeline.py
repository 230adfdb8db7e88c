"""Tests the input pipeline from records to batches, for every stage."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from harness import ellipses

from kits_tf import config as configs
from kits_tf import models
from kits_tf.config import AugmentConfig
from kits_tf.inputs import pipeline
from kits_tf.ops import crop
from kits_tf.records import dataset, schema

ALL = AugmentConfig(flip_x=True, rotate_degrees=10.0, scale=0.1, shear=0.05, elastic_voxels=1.0, brightness=0.05,
                    contrast=0.1, gamma=0.1, noise=0.02)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    config = ellipses.tiny_config()
    for stage in configs.STAGES:
        config = ellipses.with_training(config, stage, augment=ALL)
    return config, ellipses.write(tmp_path_factory.mktemp("data"), config)


@pytest.mark.parametrize("stage", configs.STAGES)
def test_training_batches_are_scaled_images_and_binary_targets(prepared, stage):
    config, data_dir = prepared
    train, _ = dataset.split(data_dir, stage, 0, config)
    batches = list(pipeline.training_batches(config, stage, train, seed=0))
    training = config.stage(stage).training
    assert len(batches) == training.epochs * training.steps_per_epoch
    target_sum = 0
    for image, target, record in batches:
        assert record.shape == (training.batch_size, 5)
        assert image.shape == (training.batch_size, *config.input_shape(stage), models.channels(stage))
        assert target.shape == (training.batch_size, *config.input_shape(stage), 1)
        assert image.dtype == target.dtype == tf.float32
        assert np.min(image) >= 0
        assert np.max(image) <= 1
        assert set(np.unique(target)) <= {0.0, 1.0}
        target_sum += np.sum(target)
    assert target_sum > 0


@pytest.mark.parametrize("stage", configs.STAGES)
def test_image_and_target_move_together(prepared, stage):
    """In the warped image, the voxels of the target are brighter than all others."""
    config, data_dir = prepared
    train, _ = dataset.split(data_dir, stage, 0, config)
    # After the window, the tumor of 240 HU is 0.83, the kidney of 120 HU 0.52, the rest of -40 HU 0.1.
    cut = 0.68 if stage.startswith("tumor") else 0.31
    plain = dataclasses.replace(ALL, brightness=0.0, contrast=0.0, gamma=0.0, noise=0.0)
    config = ellipses.with_training(config, stage, augment=plain)
    image, target, _ = next(iter(pipeline.training_batches(config, stage, train, seed=1)))
    found = image.numpy()[..., :1] > cut
    both = np.sum(found * target)
    assert 2 * both / (found.sum() + np.sum(target)) > 0.95


@pytest.mark.parametrize("stage", ["tumor3d", "tumor2d", pytest.param("correction", marks=pytest.mark.soak)])
def test_a_seed_gives_the_same_batches_and_another_gives_others(prepared, stage):
    config, data_dir = prepared
    train, _ = dataset.split(data_dir, stage, 0, config)

    def first(seed):
        return [array for batch in pipeline.training_batches(config, stage, train, seed).take(3) for array in batch]

    tf.random.set_seed(1)
    ones = first(4)
    tf.random.set_seed(2)  # must have no effect
    for one, again in zip(ones, first(4), strict=True):
        np.testing.assert_array_equal(one, again)
    assert any(np.abs(one - other).max() > 0.1 for one, other in zip(ones, first(5), strict=True))


def test_an_epoch_is_the_same_whether_reached_or_resumed_at(prepared):
    config, data_dir = prepared
    train, _ = dataset.split(data_dir, "fine", 0, config)
    steps = config.fine.training.steps_per_epoch
    reached = list(pipeline.training_batches(config, "fine", train, 0))[steps:]
    resumed = list(pipeline.training_batches(config, "fine", train, 0, first_step=steps))
    for one, other in zip(reached, resumed, strict=True):
        np.testing.assert_array_equal(one[0], other[0])


def test_a_run_stopped_within_an_epoch_continues_with_its_next_batch(prepared):
    config, data_dir = prepared
    train, _ = dataset.split(data_dir, "fine", 0, config)
    steps = config.fine.training.steps_per_epoch
    reached = list(pipeline.training_batches(config, "fine", train, 0))[steps + 2:]
    resumed = list(pipeline.training_batches(config, "fine", train, 0, first_step=steps + 2))
    assert len(reached) == len(resumed) == steps - 2
    for one, other in zip(reached, resumed, strict=True):
        for part, again in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, again)


@pytest.mark.parametrize("stage", ["tumor2d", "tumor3d", pytest.param("fine", marks=pytest.mark.soak)])
def test_two_workers_make_the_halves_of_each_batch(prepared, stage):
    config, data_dir = prepared
    train, _ = dataset.split(data_dir, stage, 0, config)
    whole, first, second = (list(pipeline.training_batches(config, stage, train, 0, part=part).take(3))
                            for part in ((0, 1), (0, 2), (1, 2)))
    for batch, one, two in zip(whole, first, second, strict=True):
        for part, half, other in zip(batch, one, two, strict=True):
            np.testing.assert_allclose(part, tf.concat([half, other], axis=0), atol=1e-6)


def test_a_batch_says_which_records_it_is_made_of(prepared):
    config, data_dir = prepared
    train, _ = dataset.split(data_dir, "coarse", 0, config)
    config = ellipses.with_training(config, "coarse", augment=AugmentConfig())
    stored = {(example["case"].numpy().decode(), *example["start"].numpy()): example["labels"].numpy()
              for example in ellipses.read(train, config.record_shape("coarse"))}
    for _, target, record in pipeline.training_batches(config, "coarse", train, seed=0).take(3):
        for mask, (case, *start, kidney) in zip(target.numpy(), record.numpy(), strict=True):
            np.testing.assert_array_equal(mask[..., 0], stored[train[case].stem, *start] >= 1)
            assert kidney == -1


def test_left_and_right_kidneys_are_one_population(prepared):
    """In a thousand fine crops, a structure at the left of the image is at the right equally often."""
    config = ellipses.with_training(prepared[0], "fine", augment=AugmentConfig(flip_x=True))
    config = dataclasses.replace(config, fine=dataclasses.replace(config.fine, jitter_voxels=0))
    image = np.zeros((1000, *config.record_shape("fine")), np.int16)
    image[:, :, :4] = 300  # for example the spine
    found, _ = pipeline.augmented(image, np.zeros_like(image, np.uint8), tf.constant([0, 1]), config, "fine")
    left = int((found.numpy()[:, 12, 1, 0] > 0.5).sum())
    assert 450 < left < 550


@pytest.mark.parametrize("stage", ["coarse", "correction", "fine", "tumor2d"])
def test_validation_examples_are_the_center_crops_in_order(prepared, stage):
    config, data_dir = prepared
    _, held_out = dataset.split(data_dir, stage, 2, config)
    raw = list(ellipses.read(held_out, config.record_shape(stage)))
    batches = list(pipeline.held_out_batches(config, stage, held_out))
    images, targets, indices, _ = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert len(images) == len(raw) == 6
    assert indices.tolist() == [0] * 6
    centre = tuple(slice(room, size - room) for room, size in
                   zip(config.jitter(stage), config.record_shape(stage), strict=True))
    low, high = config.window_hu
    for image, target, example in zip(images, targets, raw, strict=True):
        hu, labels = example["image"].numpy()[centre], example["labels"].numpy()[centre]
        np.testing.assert_allclose(image[..., 0], np.clip((hu - low) / (high - low), 0, 1), atol=1e-5)
        np.testing.assert_array_equal(target[..., 0], labels == 2 if stage.startswith("tumor") else labels >= 1)
        if stage == "tumor2d":
            np.testing.assert_array_equal(image[..., 1], labels >= 1)


@pytest.mark.parametrize("stage", ["coarse", "correction", "fine", "tumor2d"])
def test_validation_examples_count_each_voxel_of_a_case_once(tmp_path, stage):
    """Compares two cases of overlapping examples with painting them one after the other."""
    config, rng = ellipses.tiny_config(), np.random.default_rng(3)
    shape, size = config.record_shape(stage), config.input_shape(stage)
    block = (*size, 1) if stage == "correction" else (1, *size)
    paths, expected = [], []
    for case in range(2):
        starts = rng.integers(0, 5, (12, 3))
        painted = np.zeros(np.add(block, 5), bool)
        for start in starts:
            window = painted[tuple(slice(a, a + length) for a, length in zip(start, block, strict=True))]
            expected.append(1 - window.reshape(*size, 1))
            window[:] = True
        voxels = np.zeros(shape)
        paths.append(tmp_path / f"case_{case}.tfrecord")
        schema.write(paths[-1], [schema.Example(voxels.astype(np.int16), voxels.astype(np.uint8), f"case_{case}",
                                                  tuple(map(int, start)), -1, 0) for start in starts])
    batches = list(pipeline.held_out_batches(config, stage, paths))
    _, _, indices, first = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert indices.tolist() == [0] * 12 + [1] * 12
    np.testing.assert_array_equal(first, expected)
    assert 0 < first[1:12].mean() < 1


@pytest.mark.parametrize(("depth", "height", "width"), [(9, 40, 52), (4, 16, 20), (5, 11, 33), (12, 32, 40)])
def test_tumor3d_is_scored_on_the_whole_box_each_voxel_once(tmp_path, depth, height, width):
    """Slabs of two cases become blocks of 4 x 16 x 20; every voxel of the box is scored once, at its position."""
    config, rng = ellipses.tiny_config(), np.random.default_rng(4)
    paths, boxes = [], []
    for case in range(2):
        box = rng.integers(-60, 290, (depth, height, width)).astype(np.int16)
        labels = rng.integers(0, 3, box.shape).astype(np.uint8)
        patch = np.full(config.record_shape("tumor3d"), 999, np.int16)
        examples = [schema.Example(patch, np.full(patch.shape, 2, np.uint8), "case", (0, 0, 0), -1, kind)
                    for kind in (0, 1, 2)]  # not scored
        examples += [schema.Example(box[z:z + 4], labels[z:z + 4], "case", (z + 7, -3, 100), -1, schema.BOX)
                     for z in crop.cover_axis(0, depth, tf.constant(0.0), 4, 0).numpy()]
        paths.append(tmp_path / f"case_{case}.tfrecord")
        schema.write(paths[-1], examples)
        boxes.append((box, labels == 2))
    batches = list(pipeline.held_out_batches(config, "tumor3d", paths))
    images, targets, indices, first = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert images.shape[1:] == (4, 16, 20, 1)
    low, high = config.window_hu
    for case, (box, tumor) in enumerate(boxes):
        own = indices == case
        told = first[own] > 0
        inside = told & (images[own] > 0)  # air pads a box smaller than a block; the box itself is brighter
        np.testing.assert_allclose(np.sort(images[own][inside]), np.sort(np.float32(box - low).ravel() / (high - low)),
                                   rtol=1e-5)
        assert targets[own][told].sum() == tumor.sum()
        assert targets[own][told & ~inside].sum() == 0
        bright = np.float32(box - low) / (high - low)
        np.testing.assert_allclose(np.sort(images[own][inside & (targets[own] > 0)]), np.sort(bright[tumor]), rtol=1e-5)


def test_a_block_moves_as_a_stack_of_planes_all_alike(prepared):
    config, _ = prepared
    config = ellipses.with_training(config, "tumor3d", augment=dataclasses.replace(ALL, noise=0.0))
    labels = np.zeros((4, *config.record_shape("tumor3d")), np.uint8)
    labels[:, :, 6:12, 8:20] = 2  # the same in every plane
    image = (labels * 100).astype(np.int16)
    _, target = pipeline.augmented(tf.constant(image), tf.constant(labels), tf.constant([1, 2]), config, "tumor3d")
    target = target.numpy()
    assert target.shape == (4, *config.input_shape("tumor3d"), 1)
    assert (target == target[:, :1]).all()
    assert (target[0] != target[1]).any()


def test_depth_jitter_shifts_by_whole_slices(prepared):
    config, _ = prepared
    config = ellipses.with_training(config, "tumor3d", augment=AugmentConfig())
    depth = config.record_shape("tumor3d")[0]
    image = np.zeros((60, *config.record_shape("tumor3d")), np.int16)
    image += np.arange(depth, dtype=np.int16)[:, None, None] * 10
    found, _ = pipeline.augmented(tf.constant(image), tf.zeros(image.shape, tf.uint8), tf.constant([1, 2]), config,
                                   "tumor3d")
    low, high = config.window_hu
    middle = np.round((found.numpy()[:, :, 8, 10, 0] * (high - low) + low) / 10).astype(int)
    assert {tuple(row) for row in middle} == {(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)}


def test_a_record_that_is_drawn_again_is_varied_otherwise(tmp_path):
    config = ellipses.with_training(ellipses.tiny_config(), "fine", augment=ALL, batch_size=1)
    train, _ = dataset.split(ellipses.write(tmp_path, config, stages=["fine"], per_case=1), "fine", 0, config)
    seen = {}
    for image, _, record in pipeline.training_batches(config, "fine", train, seed=0):  # 12 batches of 4 records
        seen.setdefault(tuple(record.numpy()[0]), []).append(image.numpy())
    assert len(seen) == 4
    for first, second, *_ in seen.values():
        assert np.abs(first - second).max() > 0.1
