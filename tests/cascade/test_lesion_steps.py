"""Tests lesions: their threshold, the tumor voxels kept around them, and their minimum size."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from harness.ellipses import tiny_config

from kits_tf.cascade import lesion_steps
from kits_tf.cascade.kidney_steps import Region, find_kidneys


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_a_threshold_moves_to_one_half_by_a_constant_in_the_logits(threshold):
    logits = np.linspace(-6, 6, 25).astype(np.float32)
    found = lesion_steps.with_threshold_at_half(tf.sigmoid(logits), threshold)
    np.testing.assert_allclose(found, tf.sigmoid(logits - np.log(threshold / (1 - threshold))), atol=1e-5)
    moved = lesion_steps.with_threshold_at_half(tf.constant([0.0, threshold, 1.0]), threshold)
    np.testing.assert_allclose(moved, [0.0, 0.5, 1.0], atol=1e-6)


@pytest.mark.parametrize(("threshold", "detected"), [(0.5, True), (0.65, True), (0.75, False)])
def test_a_lesion_has_a_probability_above_the_threshold(threshold, detected):
    config = dataclasses.replace(tiny_config(), lesion_threshold=threshold)
    image = np.zeros((12, 60, 60), np.float32)
    image[5:8, 30:38, 30:38] = 0.7
    kidney = np.zeros(image.shape, bool)
    kidney[4:8, 20:32, 20:32] = True
    found = lesion_steps.detect(lambda block: block, tf.constant(image), tf.constant(kidney), config)
    kept = lesion_steps.keep_connected(found, tf.constant(kidney))
    np.testing.assert_array_equal(kept.mask, (image > 0) & detected)
    assert (int(kept.kept), int(kept.dropped)) == (int(detected), 0)


def test_a_kept_lesion_keeps_the_probabilities_one_voxel_around_it():
    probabilities = np.zeros((5, 9, 13), np.float32)
    probabilities[1:4, 3:6, 4:7] = 0.4
    probabilities[2, 4, 5] = 0.9
    expected = probabilities.copy()
    probabilities[2, 4, 7] = 0.4  # two voxels from the lesion
    found = lesion_steps.keep_connected(tf.constant(probabilities), tf.constant(probabilities > 0.8))
    np.testing.assert_array_equal(found.mask, probabilities > 0.8)
    np.testing.assert_array_equal(found.probabilities, expected)


@pytest.mark.parametrize(("voxels", "fallback"), [(7, True), (8, False)])
def test_as_many_voxels_as_the_threshold_are_a_lesion_and_one_fewer_count_as_nothing(voxels, fallback):
    config = dataclasses.replace(tiny_config(), tumor_min_voxels=8)
    kidney = np.zeros((12, 40, 40), np.float32)
    kidney[4:8, 10:24, 10:24] = 1.0
    image = 0.5 * kidney
    image[5, 12, 12:12 + voxels] = 0.9
    grid = tf.constant(kidney.shape)
    kidneys = find_kidneys(tf.constant(kidney > 0), tf.ones(3), tf.zeros(3), grid, min_voxels=100.0)
    nets = dict.fromkeys(("tumor3d", "tumor2d"), lambda images: tf.cast(images[..., :1] > 0.7, tf.float32))
    region = Region(kidneys, tf.constant(image), tf.zeros(3, tf.int32), grid)
    *_, report = lesion_steps.segment_tumor(nets, region, tf.constant(kidney), config)
    assert bool(report["tumor_fallback_used"]) == fallback and int(report["lesions_kept"]) == 1
