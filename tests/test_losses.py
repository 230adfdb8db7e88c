"""Tests losses and counts with numbers that can be checked by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from kits_tf import losses, metrics


def logits_of(probabilities):
    probabilities = np.asarray(probabilities, np.float32)
    return tf.constant(np.log(probabilities / (1 - probabilities)))


def test_soft_dice_of_two_voxels_by_hand():
    labels = tf.constant([[1.0, 0.0]])[..., None]
    logits = logits_of([[0.75, 0.25]])[..., None]
    # 2 * 0.75 + 1 over 1 + 1 + 1
    assert float(losses.soft_dice_loss(labels, logits)) == pytest.approx(1 - 2.5 / 3.0)


def test_soft_dice_is_over_the_batch_not_per_example():
    labels = tf.constant([[1.0] * 8, [0.0] * 8])[..., None]
    found_and_false = tf.constant([[30.0] * 8, [30.0] + [-30.0] * 7])[..., None]
    # One false voxel in an empty slice costs 1 of 17 voxels, not half of the loss.
    assert float(losses.soft_dice_loss(labels, found_and_false)) == pytest.approx(1 - 17 / 18)


def test_sums_of_two_halves_make_the_dice_of_the_whole():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (4, 3, 5, 1)).astype(np.float32)
    logits = rng.normal(size=labels.shape).astype(np.float32)
    sums = losses.soft_dice_sums(labels[:1], logits[:1]) + losses.soft_dice_sums(labels[1:], logits[1:])
    assert float(losses.soft_dice_loss_of(sums)) == pytest.approx(float(losses.soft_dice_loss(labels, logits)))


def test_dice_per_example_weighs_a_small_lesion_like_a_large_one():
    labels = tf.constant([[1.0] * 100, [1.0] + [0.0] * 99])[..., None]
    large_only = tf.constant([[30.0] * 100, [-30.0] * 100])[..., None]
    # The large one is perfect, the small one is missed: 1 - 1 / (1 + 1); over the batch it is 1 of 201 voxels.
    assert float(losses.example_dice_loss(labels, large_only)) == pytest.approx((0 + 0.5) / 2)
    assert float(losses.soft_dice_loss(labels, large_only)) == pytest.approx(1 - 201 / 202, abs=1e-6)


def test_dice_per_example_leaves_examples_without_foreground_out():
    labels = tf.constant([[1.0, 0.0], [0.0, 0.0]])[..., None]
    false = tf.constant([[30.0, -30.0], [30.0, 30.0]])[..., None]
    assert float(losses.example_dice_loss(labels, false)) == pytest.approx(0, abs=1e-6)
    assert float(losses.example_dice_loss(labels[1:], false[1:])) == 0


def test_example_sums_of_two_halves_make_the_mean_of_the_whole():
    rng = np.random.default_rng(2)
    labels = (rng.random((5, 3, 4, 1)) > 0.7).astype(np.float32)
    labels[2] = 0
    logits = rng.normal(size=labels.shape).astype(np.float32)
    sums = losses.example_dice_sums(labels[:2], logits[:2]) + losses.example_dice_sums(labels[2:], logits[2:])
    assert float(losses.example_dice_loss_of(sums)) == pytest.approx(float(losses.example_dice_loss(labels, logits)))


def test_perfect_prediction_costs_nothing():
    labels = tf.constant(np.random.default_rng(0).integers(0, 2, (2, 4, 6, 1)), tf.float32)
    logits = (labels * 2 - 1) * 50
    assert float(losses.soft_dice_loss(labels, logits)) == pytest.approx(0, abs=1e-6)
    assert float(losses.cross_entropy_loss(labels, logits)) == pytest.approx(0, abs=1e-6)


def test_batch_without_foreground_still_pushes_probabilities_down():
    logits = tf.Variable(tf.zeros((1, 4, 4, 1)))
    with tf.GradientTape() as tape:
        loss = losses.soft_dice_loss(tf.zeros((1, 4, 4, 1)), logits)
    assert float(loss) == pytest.approx(8 / 9)
    assert (tape.gradient(loss, logits).numpy() > 0).all()


def test_cross_entropy_of_a_net_that_knows_nothing_is_log_2():
    labels = tf.constant([[1.0, 0.0, 0.0]])[..., None]
    assert float(losses.cross_entropy_loss(labels, tf.zeros((1, 3, 1)))) == pytest.approx(math.log(2))


def test_losses_are_finite_where_the_sigmoid_is_flat():
    labels, logits = tf.constant([[[1.0], [0.0]]]), tf.constant([[[-200.0], [200.0]]])
    assert float(losses.cross_entropy_loss(labels, logits)) == pytest.approx(200)
    assert math.isfinite(float(losses.soft_dice_loss(labels, logits)))


def test_mixed_loss_is_the_weighted_sum():
    labels = tf.constant([[1.0, 0.0, 1.0]])[..., None]
    logits = tf.constant([[0.3, -1.0, 2.0]])[..., None]
    expected = (0.5 * losses.soft_dice_loss(labels, logits) + 0.125 * losses.example_dice_loss(labels, logits)
                + 0.25 * losses.cross_entropy_loss(labels, logits))
    assert float(losses.segmentation_loss(labels, logits, 0.5, 0.125, 0.25)) == pytest.approx(float(expected))


def test_no_weight_at_all_is_refused():
    with pytest.raises(ValueError, match="not all be zero"):
        losses.segmentation_loss(tf.zeros((1, 2, 1)), tf.zeros((1, 2, 1)), 0.0, 0.0, 0.0)


def test_case_dice_adds_voxels_before_dividing():
    labels = np.zeros((3, 2, 2, 1), np.float32)
    probabilities = np.zeros((3, 2, 2, 1), np.float32)
    labels[0], probabilities[0] = 1.0, 0.9  # case 0: four voxels, all found
    probabilities[1, 0, 0] = 0.5  # case 0: one false voxel, at the threshold
    labels[2, 0, 0] = 1.0  # case 2: one voxel, missed
    counts = metrics.overlap_counts(labels, probabilities)
    first_half = tf.concat([tf.ones_like(labels[:, :1]), tf.zeros_like(labels[:, 1:])], axis=1)
    np.testing.assert_array_equal(metrics.overlap_counts(labels, probabilities, first_half),
                                  metrics.overlap_counts(labels[:, :1], probabilities[:, :1]))
    sums = metrics.sum_per_case(tf.constant([0, 0, 2]), counts, 3).numpy()
    np.testing.assert_array_equal(sums, [[4, 4, 5], [0, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(metrics.dice_of_counts(sums), [8 / 9, 1.0, 0.0])
