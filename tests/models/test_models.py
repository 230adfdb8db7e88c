"""Tests the requirements that the network of every stage must meet."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kits_tf import config as configs
from kits_tf import models
from kits_tf.models import blocks, describe, fcn3d, unet2d

pytestmark = pytest.mark.usefixtures("same_weights")

UNET = configs.UNetConfig(base_filters=4, levels=3)
FCN = configs.FCN3DConfig(filters=(3, 4, 5))


def small(preset="demo"):
    config = configs.PRESETS[preset]
    changes = {stage: dataclasses.replace(config.stage(stage), net=FCN if stage == "tumor3d" else UNET)
               for stage in configs.STAGES}
    return dataclasses.replace(config, **changes)


@pytest.mark.parametrize("stage", configs.STAGES)
def test_output_is_probabilities_of_the_input_shape_for_any_batch(stage):
    config = small()
    model = models.build(config, stage)
    shape = config.input_shape(stage)
    for batch in (1, 3):
        found = model(tf.random.uniform((batch, *shape, models.channels(stage))))
        assert found.shape == (batch, *shape, 1)
        assert found.dtype == tf.float32
        assert 0 < float(tf.reduce_min(found)) < float(tf.reduce_max(found)) < 1


def test_only_tumor2d_reads_the_kidney_mask_as_a_second_channel():
    assert [models.channels(stage) for stage in configs.STAGES] == [1, 1, 1, 1, 2]


def test_logits_are_those_of_the_same_weights():
    model = unet2d.build((8, 12, 1), UNET)
    logits = models.logits_model(model)
    image = tf.random.uniform((2, 8, 12, 1))
    before = logits(image)
    np.testing.assert_allclose(tf.sigmoid(before), model(image), atol=1e-6)
    model.get_layer("logits").bias.assign([3.0])
    np.testing.assert_allclose(logits(image), before + 3.0, atol=1e-5)


def test_correction_planes_need_not_be_square():
    config = small()
    z, y = config.input_shape("correction")
    assert z != y
    assert models.build(config, "correction").input_shape == (None, z, y, 1)


def test_fcn_takes_any_block_that_divides():
    model = fcn3d.build(FCN)
    for size in ((2, 8, 4), (4, 12, 16), (8, 16, 16)):  # the fourth level must round up two of them
        assert model(tf.zeros((1, *size, 1))).shape == (1, *size, 1)


def test_fcn_sees_far_inside_a_larger_tile_what_it_sees_in_a_patch():
    model = fcn3d.build(FCN)
    depth, height, width = describe.receptive_field(model)
    tile = tf.random.uniform((1, 64, 128, 128, 1))
    cut = (slice(None), slice(4, 60), slice(8, 112), slice(8, 120))
    patch = tile[cut]
    inner = (slice(None), slice(depth // 2, 56 - depth // 2), slice(height // 2, 104 - height // 2),
             slice(width // 2, 112 - width // 2))
    inside = model(patch)[inner]
    assert min(inside.shape[1:4]) >= 4
    np.testing.assert_allclose(model(tile)[cut][inner], inside, atol=1e-5)


def test_a_size_that_does_not_divide_is_named():
    with pytest.raises(ValueError, match=r"multiple of 4 for a net of 3 levels, got \(8, 10\)"):
        unet2d.build((8, 10, 1), UNET)


def test_filters_double_down_to_the_cap():
    model = unet2d.build((16, 16, 1), configs.UNetConfig(base_filters=4, levels=4, max_filters=10))
    widths = [model.get_layer(f"down{level}_2_conv").filters for level in range(4)]
    assert widths == [4, 8, 10, 10]


def test_without_normalization_there_is_a_bias_and_no_batch_norm():
    plain = unet2d.build((8, 8, 1), dataclasses.replace(UNET, normalization="none"))
    assert not [layer for layer in plain.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    assert plain.get_layer("down0_1_conv").use_bias
    normalized = unet2d.build((8, 8, 1), UNET)
    assert not normalized.get_layer("down0_1_conv").use_bias


@pytest.mark.parametrize("stage", ["fine", "tumor3d"])
def test_saved_weights_load_into_a_new_net(stage, tmp_path):
    config = small()
    model, other = models.build(config, stage), models.build(config, stage)
    image = tf.random.uniform((1, *config.input_shape(stage), 1))
    assert np.abs(model(image) - other(image)).max() > 1e-3
    model.save_weights(str(tmp_path / "net.weights.h5"))
    other.load_weights(str(tmp_path / "net.weights.h5"))
    np.testing.assert_array_equal(model(image), other(image))


def test_repeat_makes_every_voxel_a_block():
    image = np.arange(2 * 3, dtype=np.float32).reshape(1, 2, 3, 1)
    found = blocks.Repeat((2, 3))(image).numpy()[0, ..., 0]
    np.testing.assert_array_equal(found, np.repeat(np.repeat(image[0, ..., 0], 2, axis=0), 3, axis=1))


@pytest.mark.parametrize(("rank", "build"), [
    (2, lambda sizes: unet2d.build((*sizes, 1), dataclasses.replace(UNET, normalization="none"))),
    (3, lambda sizes: fcn3d.build(dataclasses.replace(FCN, normalization="none"))),
], ids=["unet2d", "fcn3d"])
def test_receptive_field_is_where_a_brighter_voxel_changes_the_output(rank, build):
    length = 160
    for axis in range(rank):
        sizes = [8] * rank
        sizes[axis] = length
        model = build(sizes)
        for weight in model.weights:  # all positive, so that no unit is inactive and nothing cancels
            weight.assign(tf.fill(weight.shape, 0.1))
        planes = np.zeros((length + 1, *sizes, 1), np.float32)  # one bright plane in each, none in the last
        for place in range(length):
            planes[(place, *[slice(None)] * axis, place)] = 1e3
        logits = np.moveaxis(models.logits_model(model)(planes).numpy()[..., 0], axis + 1, 1)
        logits = logits.reshape(length + 1, length, -1)[..., 0]
        changed = logits[:-1] > logits[-1]  # by which plane, at which output
        widest = max(np.ptp(np.flatnonzero(changed[:, place])) + 1 for place in range(length // 2, length // 2 + 8))
        assert widest == describe.receptive_field(model)[axis]


def test_paper_nets_see_a_kidney():
    config = configs.PRESETS["paper"]
    _, height, width = describe.receptive_field(models.build(config, "tumor3d"))
    assert min(height, width) * config.spacing_mm[1] >= 70  # mm
    assert min(describe.receptive_field(models.build(config, "fine"))) >= config.fine.crop_voxels


def test_table_has_a_line_for_each_stage():
    lines = describe.table(small()).splitlines()
    assert [line.split()[0] for line in lines] == ["stage", *configs.STAGES]
    assert "48 x 128 x 1" in lines[2]
