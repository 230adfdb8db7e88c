"""Tests scores of validation cases with examples that can be counted by hand."""

import types

import numpy as np
import pytest
import tensorflow as tf

from kits_tf.config import TrainingConfig
from kits_tf.training import scoring


def test_a_voxel_that_two_examples_of_a_case_hold_counts_once():
    """The network returns its image; the second example is all wrong, but only in voxels that the first covered."""
    image = tf.constant([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]])[..., tf.newaxis]
    target = tf.constant([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0]])[..., tf.newaxis]
    first = tf.constant([[1.0] * 4, [0.0] * 4, [1.0] * 4])[..., tf.newaxis]
    held_out = tf.data.Dataset.from_tensor_slices((image, target, tf.constant([0, 0, 1]), first)).batch(2)
    task = types.SimpleNamespace(held_out=("case_0", "case_1"), training=TrainingConfig())
    score = scoring.scorer(tf.distribute.get_strategy(), lambda image, training: 20 * image - 10, task, held_out)
    _, dice = score()
    assert dice == pytest.approx(np.mean([1.0, 2 * 2 / (2 + 3)]))
