"""Tests that a folded network predicts as the original, without normalization layers."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kits_tf import config as configs
from kits_tf import models
from kits_tf.models.fold import folded

CONFIG = configs.PRESETS["demo"]


def trained(stage, seed=0, config=CONFIG):
    """Returns a network whose batch norms have varied statistics, scales and shifts, as after training."""
    tf.keras.utils.set_random_seed(seed)
    model = models.build(config, stage)
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name.endswith("_norm"):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([rng.uniform(0.5, 2, gamma.shape), rng.normal(0, 0.3, beta.shape),
                               rng.normal(0, 0.5, mean.shape), rng.uniform(0.2, 3, variance.shape)])
    return model


@pytest.mark.parametrize("stage", configs.STAGES)
def test_folded_net_answers_alike(stage):
    model = trained(stage)
    image = np.random.default_rng(1).uniform(0, 1, (2, *CONFIG.input_shape(stage), models.channels(stage)))
    image = tf.constant(image, tf.float32)
    expected = model(image, training=False).numpy()
    slim = folded(model, CONFIG, stage)
    np.testing.assert_allclose(slim(image, training=False).numpy(), expected, atol=1e-4)
    assert np.ptp(expected) > 0.1, "a constant answer would show nothing"
    assert not [layer.name for layer in slim.layers if "norm" in layer.name]


@pytest.mark.parametrize("preset", configs.PRESETS)
def test_nets_of_a_preset_that_start_from_one_another_are_folded_one_by_one(preset):
    """The config must not require equal networks in two stages, because they differ while they are folded."""
    config = configs.PRESETS[preset]
    slim = folded(models.build(config, "tumor2d"), config, "tumor2d")
    assert not [layer.name for layer in slim.layers if "norm" in layer.name]


def test_an_output_that_is_only_trained_changes_nothing_in_a_folded_net():
    config = dataclasses.replace(CONFIG, tumor3d=dataclasses.replace(CONFIG.tumor3d, kidney_weight=0.5))
    model = trained("tumor3d", config=config)
    image = tf.random.uniform((1, *config.input_shape("tumor3d"), 1))
    logits = models.logits_model(model)(image)
    assert logits.shape[-1] == 2
    np.testing.assert_allclose(model(image), tf.sigmoid(logits[..., :1]), atol=1e-6)
    np.testing.assert_allclose(folded(model, config, "tumor3d")(image), model(image), atol=1e-4)


def test_bfloat16_folds_weights_of_float32():
    model = trained("fine")
    full, half = (folded(model, CONFIG, "fine", precision) for precision in ("float32", "mixed_bfloat16"))
    assert tf.as_dtype(half.get_layer("down0_1_conv").compute_dtype) == tf.bfloat16
    for one, other in zip(full.get_weights(), half.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_net_without_normalization_is_left_alone():
    settings = dataclasses.replace(CONFIG.fine, net=dataclasses.replace(CONFIG.fine.net, normalization="none"))
    config = dataclasses.replace(CONFIG, fine=settings)
    model = models.build(config, "fine")
    assert folded(model, config, "fine") is model
