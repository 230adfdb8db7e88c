"""Tests the learning rate by hand, and which weights decay."""

import math

import numpy as np
import pytest
import tensorflow as tf

from kits_tf.config import TrainingConfig
from kits_tf.training import schedule


def rates(steps, **changes):
    training = TrainingConfig(epochs=2, steps_per_epoch=50, learning_rate=0.5, **changes)
    return [float(schedule.LearningRate(training)(step)) for step in steps]


def test_polynomial_falls_to_zero_at_the_last_step():
    assert rates([0, 50, 100, 120]) == pytest.approx([0.5, 0.5 * 0.5**0.9, 0.0, 0.0])


def test_cosine_is_half_way_in_the_middle():
    assert rates([0, 25, 50, 100], schedule="cosine") == pytest.approx(
        [0.5, 0.25 * (1 + math.cos(math.pi / 4)), 0.25, 0.0], abs=1e-6)


@pytest.mark.parametrize("name", ["polynomial", "cosine"])
def test_warm_up_rises_step_by_step_and_the_fall_starts_after_it(name):
    found = rates([0, 1, 9, 10, 100], schedule=name, warm_up_steps=10)
    assert found == pytest.approx([0.05, 0.1, 0.5, 0.5, 0.0])
    half = 0.5**0.9 if name == "polynomial" else 0.5
    assert rates([55], schedule=name, warm_up_steps=10) == pytest.approx([0.5 * half])


@pytest.mark.parametrize(("name", "decay"), [("adamw", 0.1), ("sgd", 0.1), ("sgd", 0.0), ("adam", 0.0)])
def test_kernels_decay_and_norms_and_biases_do_not(name, decay):
    kernel, bias = tf.Variable([[2.0, 4.0]]), tf.Variable([3.0])
    training = TrainingConfig(optimizer=name, weight_decay=decay, learning_rate=0.5)
    optimizer = schedule.optimizer(training, [kernel, bias])
    optimizer.apply_gradients([(tf.zeros_like(kernel), kernel), (tf.zeros_like(bias), bias)])
    np.testing.assert_allclose(kernel, [[2.0 * (1 - 0.5 * decay), 4.0 * (1 - 0.5 * decay)]], rtol=1e-6)
    np.testing.assert_allclose(bias, [3.0])


def test_sgd_has_nesterov_momentum():
    weight = tf.Variable([[1.0]])
    optimizer = schedule.optimizer(TrainingConfig(optimizer="sgd", momentum=0.5, learning_rate=0.1), [weight])
    optimizer.apply_gradients([(tf.constant([[1.0]]), weight)])
    np.testing.assert_allclose(weight, [[1.0 - 0.1 * (1.0 + 0.5)]], rtol=1e-5)  # plain momentum: 0.9
