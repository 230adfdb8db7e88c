"""Tests one training step: precision, gradient norm, and averaged weights."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from harness import ellipses

from kits_tf import config as configs
from kits_tf import models
from kits_tf.errors import InputError
from kits_tf.training import step
from kits_tf.training.task import make_task

TINY = ellipses.tiny_config()
# Deep enough for bfloat16 (task.SHALLOWEST_BFLOAT16).
CONFIG = dataclasses.replace(TINY, tumor3d=dataclasses.replace(TINY.tumor3d, patch_voxels=(16, 16, 20)),
                             coarse=dataclasses.replace(TINY.coarse, net=configs.UNetConfig(base_filters=2, levels=1)))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return ellipses.write(tmp_path_factory.mktemp("data"), CONFIG)


def made(data_dir, stage="fine", precision="float32", compiled=False, **training):
    """Returns a step and its first batch."""
    config = ellipses.with_training(CONFIG, stage, **training)
    task = make_task(config, stage, data_dir, 0, 0, precision)
    image, target, _ = next(iter(task.training_batches()))
    return step.TrainStep(task, tf.distribute.get_strategy(), compiled), image, target


def values(variables):
    return [variable.numpy() for variable in step.tf_variables(variables)]


def moved(one, image, target):
    """Returns the norm of a step's change of all trainable weights."""
    trainable = one.net.trainable_variables
    before = values(trainable)
    one(image, target, False)
    return float(np.sqrt(sum(np.sum((now - old) ** 2) for now, old in zip(values(trainable), before, strict=True))))


def undone(one):
    """Returns the values of all variables that a step changes, except the loss scale."""
    return values([*one.weights, *step.tf_variables(one.optimizer.variables), *one.average])


@pytest.mark.parametrize(("stage", "precision"), [
    ("fine", "mixed_float16"), ("fine", "mixed_bfloat16"),
    pytest.param("tumor3d", "mixed_bfloat16", marks=pytest.mark.soak)])
def test_inner_layers_are_short_and_weights_logits_and_loss_are_float32(data_dir, stage, precision):
    one, image, target = made(data_dir, stage, precision, learning_rate=1e-2)
    assert {layer.compute_dtype for layer in one.model.layers if "conv" in layer.name} == {precision[6:]}
    assert {variable.dtype for variable in one.weights} == {tf.float32}
    assert one.net(image).dtype == one.model(image).dtype == tf.float32
    told = [one(image, target, False) for _ in range(8)]
    assert told[0].dtype == tf.float32
    exact, *_ = made(data_dir, stage, learning_rate=1e-2)
    assert float(told[0][0]) == pytest.approx(float(exact(image, target, False)[0]), abs=0.01)
    assert told[-1][0] < told[0][0]
    assert bool(one.scale) == (precision == "mixed_float16")


def test_float16_in_three_dimensions_is_refused_without_a_gpu(data_dir):
    with pytest.raises(InputError, match="mixed_float16 needs a GPU"):
        make_task(CONFIG, "tumor3d", data_dir, 0, 0, "mixed_float16")


def test_bfloat16_noise_of_shallow_blocks_is_refused_on_a_cpu(data_dir):
    shallow = dataclasses.replace(CONFIG, tumor3d=dataclasses.replace(CONFIG.tumor3d, patch_voxels=(8, 16, 20)))
    with pytest.raises(InputError, match="needs patches of 10 slices or more on a CPU, got 8"):
        make_task(shallow, "tumor3d", data_dir, 0, 0, "mixed_bfloat16")


def test_the_policy_of_other_models_stays():
    models.build(CONFIG, "fine", "mixed_bfloat16")
    assert tf.keras.mixed_precision.global_policy().name == "float32"


def test_a_gradient_beyond_float16_changes_nothing_but_the_loss_scale(data_dir):
    one, image, target = made(data_dir, precision="mixed_float16", average_decay=0.5)
    one.scale[0].assign(2.0**100)
    before = undone(one)
    told = one(image, target, False)
    assert np.isfinite(told[0])
    for now, old in zip(undone(one), before, strict=True):
        np.testing.assert_array_equal(now, old)
    assert values(one.scale) == [2.0**99, 0]
    one.scale[0].assign(2.0**10)
    assert moved(one, image, target) > 0
    assert values(one.scale) == [2.0**10, 1]


def test_the_loss_scale_doubles_after_long_enough(data_dir, monkeypatch):
    monkeypatch.setattr(step, "STEPS_TO_DOUBLE", 2)
    one, image, target = made(data_dir, precision="mixed_float16")
    one.scale[0].assign(8.0)
    scales = []
    for _ in range(4):
        one(image, target, False)
        scales.append(float(one.scale[0]))
    assert scales == [8.0, 16.0, 16.0, 32.0]


def test_a_clipped_step_is_as_long_as_allowed_and_a_short_one_stays(data_dir):
    plain = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0}
    free, image, target = made(data_dir, **plain)
    length = moved(free, image, target)
    clipped, *_ = made(data_dir, clip_norm=0.5 * length, **plain)
    assert moved(clipped, image, target) == pytest.approx(0.5 * length, rel=1e-3)
    loose, *_ = made(data_dir, clip_norm=2.0 * length, **plain)
    assert moved(loose, image, target) == pytest.approx(length, rel=1e-3)


def test_the_average_follows_the_weights_and_replaces_them_for_a_while(data_dir):
    one, image, target = made(data_dir, average_decay=0.3, learning_rate=0.1)
    expected = [value.astype(np.float64) for value in values(one.weights)]
    for number in range(1, 6):
        one(image, target, False)
        decay = min(0.3, (1 + number) / (10 + number))
        expected = [decay * mean + (1 - decay) * now for mean, now in zip(expected, values(one.weights), strict=True)]
    for found, wanted in zip(values(one.average), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    raw = values(one.weights)
    with one.averaged():
        for found, wanted in zip(values(one.weights), values(one.average), strict=True):
            np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(values(one.weights), raw, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_compiled_step_learns_the_same(data_dir):
    plain, image, target = made(data_dir, "coarse", clip_norm=1.0, average_decay=0.5)
    compiled, *_ = made(data_dir, "coarse", compiled=True, clip_norm=1.0, average_decay=0.5)
    for _ in range(3):
        np.testing.assert_allclose(compiled(image, target, False), plain(image, target, False), rtol=2e-3)
    for one, other in zip(values(compiled.average), values(plain.average), strict=True):
        np.testing.assert_allclose(one, other, atol=5e-3)


def test_settings_survive_the_config(data_dir):
    task = make_task(CONFIG, "fine", data_dir, 0, 0)
    assert dataclasses.replace(task, precision="mixed_float16").identity() == task.identity() | {
        "precision": "mixed_float16"}
