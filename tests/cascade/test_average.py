"""Tests averaging of several networks and mirrored views: mean probabilities, along the axes mirrored in training."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from harness.patients import HU, KIDNEY_ABOVE, SPACING_MM, TUMOR_ABOVE

from kits_tf import config as configs
from kits_tf.cascade.average import average, mirrored_axes
from kits_tf.cascade.module import Cascade, net_shape

SHAPES = {"coarse": (2, 6, 8, 1), "correction": (2, 6, 8, 1), "fine": (2, 6, 8, 1), "tumor3d": (1, 4, 6, 8, 1),
          "tumor2d": (2, 6, 8, 2)}


def constant(value):
    return lambda inputs: tf.zeros_like(inputs[..., :1]) + value


def ramp(axis):
    """Returns a network whose output rises from 0 to 1 along an axis, for any input."""
    def call(inputs):
        size = inputs.shape[axis]
        shape = [1] * len(inputs.shape)
        shape[axis] = size
        return tf.zeros_like(inputs[..., :1]) + tf.reshape(tf.linspace(0.0, 1.0, size), shape)
    return call


def seen_and_ramp(axis):
    return lambda inputs: (inputs[..., :1] + ramp(axis)(inputs)) / 2.0


def run(net, stage):
    image = np.random.default_rng(0).random(SHAPES[stage], np.float32)
    return image, tf.function(net)(tf.constant(image)).numpy()


@pytest.mark.parametrize("stage", configs.STAGES)
def test_nets_that_answer_differently_are_averaged(stage):
    _, answer = run(average([constant(0.2), constant(0.3), constant(1.0)], stage), stage)
    assert answer.shape == (*SHAPES[stage][:-1], 1)
    np.testing.assert_allclose(answer, 0.5, atol=1e-6)


def test_one_net_without_mirroring_is_itself():
    net = constant(0.3)
    assert average([net], "fine") is net


@pytest.mark.parametrize(("stage", "mirrored", "axis"), [
    ("fine", "x", 2), ("fine", "y", 1), ("tumor2d", "yx", 2), ("tumor2d", "yx", 1), ("tumor3d", "x", 3),
    ("tumor3d", "y", 2), ("correction", "z", 1)])
def test_mirrored_views_of_a_net_that_favors_one_side_average_out_in_place(stage, mirrored, axis):
    """Outputs that follow the input come back unflipped; outputs that depend on position average out."""
    image, answer = run(average([seen_and_ramp(axis)], stage, mirrored), stage)
    np.testing.assert_allclose(answer, (image[..., :1] + 0.5) / 2, atol=1e-6)


@pytest.mark.parametrize(("mirrored", "axis"), [("", 2), ("y", 2), ("x", 1)])
def test_axes_that_are_not_mirrored_keep_their_side(mirrored, axis):
    _, answer = run(average([ramp(axis)], "fine", mirrored), "fine")
    np.testing.assert_allclose(np.moveaxis(answer, axis, -1)[0, 0, 0], np.linspace(0, 1, SHAPES["fine"][axis]),
                               atol=1e-6)


@pytest.mark.parametrize(("mirrored", "runs"), [("", 2), ("x", 4), ("yx", 8)])
def test_every_net_sees_every_combination_of_mirrored_axes(mirrored, runs):
    calls = tf.Variable(0)

    def counted(inputs):
        calls.assign_add(1)
        return inputs[..., :1]

    image, answer = run(average([counted, counted], "fine", mirrored), "fine")
    assert calls.numpy() == runs
    np.testing.assert_allclose(answer, image, atol=1e-6)


def test_only_what_training_mirrored_is_mirrored():
    assert mirrored_axes(configs.PRESETS["paper"]) == {
        "coarse": "", "correction": "", "fine": "x", "tumor3d": "x", "tumor2d": "x"}
    paper = configs.PRESETS["paper"]
    both = dataclasses.replace(paper.correction.training.augment, flip_x=True, flip_y=True)
    training = dataclasses.replace(paper.correction.training, augment=both)
    changed = dataclasses.replace(paper, correction=dataclasses.replace(paper.correction, training=training))
    assert mirrored_axes(changed)["correction"] == "y"  # a sagittal plane has no x


def lopsided(above):
    """Returns a threshold network that gives 0.3 in the left half of its crop and 0.8 in the right half."""
    def call(inputs):
        left = tf.cast(tf.range(inputs.shape[-2]) < inputs.shape[-2] // 2, tf.float32)[:, tf.newaxis]
        return tf.cast(inputs[..., :1] > above, tf.float32) * (0.3 + 0.5 * left)
    return call


def shares(above, *values):
    """Returns threshold networks that predict these probabilities."""
    return [lambda inputs, value=value: tf.cast(inputs[..., :1] > above, tf.float32) * value for value in values]


@pytest.fixture(scope="module")
def averaged():
    """The demo cascade of different networks, none sufficient alone, with the mirrored views of training."""
    config = configs.PRESETS["demo"]
    nets = {"coarse": shares(KIDNEY_ABOVE, 1.0, 0.2), "correction": shares(KIDNEY_ABOVE, 0.0),
            "fine": shares(KIDNEY_ABOVE, 0.4, 0.3, 0.95), "tumor3d": [lopsided(TUMOR_ABOVE)],
            "tumor2d": shares(TUMOR_ABOVE, 0.1)}
    return Cascade(nets, config, mirrored_axes(config))


@pytest.mark.parametrize(("stage", "expected"), [("coarse", 0.6), ("correction", 0.0), ("fine", 0.55),
                                                 ("tumor3d", 0.55), ("tumor2d", 0.1)])
def test_a_stage_s_own_signature_gives_the_mean(averaged, stage, expected):
    image = tf.ones((2, *net_shape(stage, configs.PRESETS["demo"])))
    answer = averaged.functions[stage](image=image)["probabilities"]
    np.testing.assert_allclose(answer, expected, atol=1e-6)


def test_the_cascade_sees_the_mean_of_nets_and_views(averaged, patient):
    """Labels are complete only if everything is averaged: each network and view is below one half somewhere."""
    outputs = averaged.functions["serving_default"](
        volume=tf.constant(HU[patient]), spacing_mm=tf.constant(SPACING_MM, tf.float32))
    np.testing.assert_array_equal(outputs["labels"], patient)
    assert not outputs["correction_used"] and outputs["lesions_kept"] == 1
