"""Tumors that come from another patient: where they land, how bright they are, and when they stay away."""

import collections
import dataclasses

import ellipses
import numpy as np
import pytest
import tensorflow as tf

from kits_tf.config import AugmentConfig
from kits_tf.inputs import augment, paste, pipeline
from kits_tf.io import dataset, records

WINDOW_HU = (-79.0, 304.0)
SHAPE = (24, 30, 1)
FAT, UNENHANCED = -100.0, 35.0


def windowed(hu):
    return np.clip((np.asarray(hu, np.float32) - WINDOW_HU[0]) / (WINDOW_HU[1] - WINDOW_HU[0]), 0, 1)


def example(kidney_hu, tumor_hu=None, batch=1, shape=SHAPE, tumor_at=(9, 8)):
    """(image, tumor, kidney): a kidney, a box from voxel (6, 5) to (18, 20), with or without a tumor, a box of
    5 x 3 voxels (and of 3 slices, from the third, in a block) from `tumor_at` on."""
    hu = np.full((batch, *shape), FAT)
    kidney, tumor = np.zeros((2, *hu.shape), bool)
    kidney[:, 6:18, 5:20] = True
    if tumor_hu is not None:
        slices = slice(2, 5) if shape[2] > 1 else slice(None)
        tumor[:, tumor_at[0]:tumor_at[0] + 5, tumor_at[1]:tumor_at[1] + 3, slices] = True
    hu[kidney] = kidney_hu
    hu[tumor] = tumor_hu
    return tuple(tf.constant(part, tf.float32) for part in (windowed(hu), tumor, kidney | tumor))


def pasted(own, donor, chance=1.0, seed=3):
    rows = augment.Rows(own[0].shape[0])
    found = paste.paste_tumors(own, donor, chance, WINDOW_HU, tf.constant([seed, 1]), rows)
    return [part.numpy() for part in found]


def test_a_tumor_lands_whole_with_its_middle_on_the_kidney():
    own, donor = example(150.0, batch=200), example(150.0, 90.0, batch=200)
    image, tumor, kidney = pasted(own, donor)
    before = own[2].numpy()
    corners = set()
    for mask, was in zip(tumor[..., 0], before[..., 0], strict=True):
        y, x = np.nonzero(mask)
        corners.add((y.min(), x.min()))
        assert mask[y.min():y.min() + 5, x.min():x.min() + 3].sum() == mask.sum() == 15
        middle = [(places.min() + places.max()) // 2 for places in (y, x)]
        assert was[tuple(middle)] == 1
    assert len(corners) > 80  # of the 180 voxels of the kidney
    np.testing.assert_array_equal(kidney, np.maximum(before, tumor))
    grown = tf.nn.max_pool2d(tf.constant(tumor), 3, 1, "SAME").numpy() > 0
    np.testing.assert_array_equal(image[~grown], own[0].numpy()[~grown])


def test_a_tumor_enhances_as_the_kidney_it_comes_to():
    """A donor's kidney of 135 HU enhances by 100, one of 115 by 80: a tumor of 95 comes to 35 + 60 * 0.8, give or take
    what is drawn."""
    own, donor = example(115.0, batch=500), example(135.0, 95.0, batch=500)
    image, tumor, _ = pasted(own, donor)
    inner = tf.nn.avg_pool2d(tf.constant(tumor), 3, 1, "SAME").numpy() > 0.999  # the rest is mixed with what was there
    hu = image[inner] * (WINDOW_HU[1] - WINDOW_HU[0]) + WINDOW_HU[0]
    spread = 60 * 0.8 * paste.STRENGTH + paste.LEVEL_HU
    middle = UNENHANCED + 60 * 0.8
    assert middle - spread <= hu.min() < middle - 0.6 * spread
    assert middle + 0.6 * spread < hu.max() <= middle + spread
    assert hu.mean() == pytest.approx(middle, abs=2)


def test_a_pasted_tumor_stays_within_the_window():
    image, *_ = pasted(example(300.0, batch=50), example(300.0, 304.0, batch=50))
    assert image.max() <= 1
    image, *_ = pasted(example(-20.0, batch=50), example(-20.0, -79.0, batch=50))
    assert image.min() >= 0


@pytest.mark.parametrize("donor", [
    example(150.0, 90.0, tumor_at=(19, 8)),  # reaches the lower edge
    example(150.0, 90.0, tumor_at=(9, 0)),  # the left one
    example(80.0, 60.0),  # a kidney of a third of the enhancement
    example(150.0),  # no tumor
    (windowed(np.full((1, *SHAPE), 90.0)), *[np.float32(np.arange(24 * 30).reshape(1, *SHAPE) == 70)] * 2),  # no kidney
], ids=["cut off below", "cut off at the left", "another phase", "no tumor", "no kidney to compare with"])
def test_some_tumors_stay_away(donor):
    own = example(150.0)
    for before, after in zip(own, pasted(own, tuple(map(tf.constant, donor))), strict=True):
        np.testing.assert_array_equal(before, after)


def test_no_tumor_comes_where_no_kidney_is_or_none_is_wanted():
    own, donor = example(150.0, batch=50), example(150.0, 90.0, batch=50)
    fat = (own[0], own[1], tf.zeros_like(own[2]))
    for example_, chance in ((fat, 1.0), (own, 0.0)):
        for before, after in zip(example_, pasted(example_, donor, chance), strict=True):
            np.testing.assert_array_equal(before, after)


def test_a_chance_of_a_half_pastes_half_the_time():
    _, tumor, _ = pasted(example(150.0, batch=400), example(150.0, 90.0, batch=400), chance=0.5)
    assert 160 < (tumor.max(axis=(1, 2, 3)) > 0).sum() < 240


def test_in_a_block_a_tumor_moves_along_all_three_axes():
    shape = (24, 30, 9)
    own, donor = example(150.0, batch=100, shape=shape), example(150.0, 90.0, batch=100, shape=shape)
    _, tumor, _ = pasted(own, donor)
    firsts = set()
    for mask in tumor:
        z = np.nonzero(mask)[2]
        firsts.add(z.min())
        assert mask.sum() in (45, 30)  # 5 x 3 x 3, or cut off at the block's first or last slice
    assert firsts == {0, 1, 2, 3, 4, 5, 6, 7}


def test_a_tumor_cut_off_in_depth_stays_away():
    shape = (24, 30, 9)
    image, tumor, kidney = example(150.0, 90.0, shape=shape)
    donor = tuple(part[..., 2:] for part in (image, tumor, kidney))
    own = tuple(part[..., 2:] for part in example(150.0, shape=shape))
    np.testing.assert_array_equal(pasted(own, donor)[1], 0)


@pytest.mark.parametrize("stage", ["coarse", "correction", "fine", "tumor3d", "tumor2d"])
def test_every_stage_learns_what_was_pasted(tmp_path, stage):
    """Records of kidneys without tumor, beside one that has one: targets of tumor nets have tumors where there were
    none, those of the others have them too."""
    config = ellipses.tiny_config()
    ellipses.write(tmp_path, config, stages=[stage], per_case=9)
    train, _ = dataset.split(tmp_path, stage, 0, config)

    def batches(chance):
        varied = ellipses.with_training(config, stage, augment=AugmentConfig(paste_tumor=chance))
        return [[part.numpy() for part in batch] for batch in pipeline.training_batches(varied, stage, train, 0)]

    grown = 0
    for (image, target, record), (now, pasted_target, same) in zip(batches(0.0), batches(1.0), strict=True):
        np.testing.assert_array_equal(record, same)
        assert (pasted_target >= target).all()
        grown += (pasted_target > target).sum()
        changed = np.abs(now - image)[..., 0] > 1e-3
        assert not changed[(pasted_target == 0).all(axis=(-1, *range(1, target.ndim - 1)))].any()
    assert grown > 100


@pytest.mark.parametrize("stage", ["tumor2d", "tumor3d"])
def test_pasting_is_the_same_for_any_number_of_workers_and_when_resumed(tmp_path, stage):
    config = ellipses.tiny_config()
    ellipses.write(tmp_path, config, stages=[stage])
    train, _ = dataset.split(tmp_path, stage, 0, config)
    config = ellipses.with_training(config, stage, augment=AugmentConfig(flip_x=True, scale=0.1, paste_tumor=1.0))
    whole = list(pipeline.training_batches(config, stage, train, 0))
    halves = [list(pipeline.training_batches(config, stage, train, 0, part=(worker, 2))) for worker in (0, 1)]
    for batch, *parts in zip(whole, *halves, strict=True):
        for all_rows, one, two in zip(batch, *parts, strict=True):
            np.testing.assert_allclose(all_rows, tf.concat([one, two], axis=0), atol=1e-6)
    for reached, resumed in zip(whole[8:], pipeline.training_batches(config, stage, train, 0, 8), strict=True):
        for part, again in zip(reached, resumed, strict=True):
            np.testing.assert_array_equal(part, again)


def test_without_any_tumor_there_is_nothing_to_paste(tmp_path):
    config = ellipses.tiny_config()
    ellipses.write(tmp_path, config, stages=["fine"], kinds=(0, 1))
    train, _ = dataset.split(tmp_path, "fine", 0, config)
    config = ellipses.with_training(config, "fine", augment=AugmentConfig(paste_tumor=1.0))
    drawn = next(iter(pipeline.drawn_examples(config, "fine", train, 0)(0)))
    assert drawn.shape == (1,)
    assert len(list(pipeline.training_batches(config, "fine", train, 0))) == 12


def test_tumors_to_paste_come_from_every_case_alike(tmp_path):
    """One case has one example with tumor, the other three have ten each."""
    config = ellipses.tiny_config()
    ellipses.write(tmp_path, config, stages=["tumor2d"], per_case=30)
    train, _ = dataset.split(tmp_path, "tumor2d", 0, config)
    shape, first = config.record_shape("tumor2d"), train[0]
    kept = [example for example in records.read([first], shape) if int(example["start"][0]) in (0, 1, 2)]
    records.write(first, [records.Example(one["image"].numpy(), one["labels"].numpy(), first.stem,
                                          tuple(one["start"].numpy().tolist()), -1, int(one["kind"])) for one in kept])
    config = ellipses.with_training(config, "tumor2d", augment=dataclasses.replace(AugmentConfig(), paste_tumor=0.3))
    drawn = list(pipeline.drawn_examples(config, "tumor2d", train, 0)(1).take(128))
    own, donors = ([records.parse(pair[place], shape) for pair in drawn] for place in (0, 1))
    assert {int(one["kind"]) for one in own} == {0, 1, 2}
    assert all((one["labels"].numpy() == 2).any() for one in donors)
    numbers = collections.Counter(one["case"].numpy().decode() for one in donors)
    assert set(numbers.values()) == {32}
    assert len({(one["case"].numpy(), int(one["start"][0])) for one in donors}) == 31  # all that there are


def test_donors_are_turned_all_around_and_zoomed_more_than_examples():
    settings = paste.turned(AugmentConfig(rotate_degrees=5.0, scale=0.1, noise=0.02))
    assert (settings.flip_x, settings.flip_y, settings.rotate_degrees) == (True, True, 180.0)
    assert settings.scale == paste.SCALE > 0.1
    assert paste.turned(AugmentConfig(scale=0.7)).scale == 0.7
