"""The lesion threshold: one half stays where everything later looks for it."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from harness.ellipses import tiny_config

from kits_tf.cascade import lesion_steps


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_a_threshold_moves_to_one_half_by_a_constant_in_the_logits(threshold):
    logits = np.linspace(-6, 6, 25).astype(np.float32)
    found = lesion_steps.with_threshold_at_half(tf.sigmoid(logits), threshold)
    np.testing.assert_allclose(found, tf.sigmoid(logits - np.log(threshold / (1 - threshold))), atol=1e-5)
    moved = lesion_steps.with_threshold_at_half(tf.constant([0.0, threshold, 1.0]), threshold)
    np.testing.assert_allclose(moved, [0.0, 0.5, 1.0], atol=1e-6)


@pytest.mark.parametrize(("threshold", "detected"), [(0.5, True), (0.65, True), (0.75, False)])
def test_a_lesion_is_what_tumor3d_is_surer_of_than_the_threshold(threshold, detected):
    config = dataclasses.replace(tiny_config(), lesion_threshold=threshold)
    image = np.zeros((12, 60, 60), np.float32)
    image[5:8, 30:38, 30:38] = 0.7
    kidney = np.zeros(image.shape, bool)
    kidney[4:8, 20:32, 20:32] = True
    found = lesion_steps.detect(lambda block: block, tf.constant(image), tf.constant(kidney), config)
    kept = lesion_steps.keep_connected(found, tf.constant(kidney))
    np.testing.assert_array_equal(kept.mask, (image > 0) & detected)
    assert (int(kept.kept), int(kept.dropped)) == (int(detected), 0)
