"""Tests the weights of voxels in overlapping tiles."""

import numpy as np
import tensorflow as tf

from kits_tf.cascade import tiling


def test_shares_fall_towards_a_tiles_edge_and_sum_to_1_at_every_voxel():
    shares = tiling.axis_shares(tf.constant([0, 3]), 5)  # voxels 3 and 4 are in both
    np.testing.assert_allclose(shares, [[1, 1, 1, 2 / 3, 1 / 3], [1 / 3, 2 / 3, 1, 1, 1]], rtol=1e-6)


def test_overlapping_answers_are_blended_and_outside_the_tiles_is_zero():
    positions = (tf.constant([0]), tf.constant([1]), tf.constant([0, 3]))
    found = tiling.predict_tiles(lambda block: tf.reduce_max(block, axis=(1, 2, 3), keepdims=True)
                                 * tf.ones_like(block), [tf.reshape(tf.range(24.0), (1, 3, 8))], positions, (1, 1, 5),
                                 tiling.BLOCK)
    np.testing.assert_allclose(found[0, 1], [12, 12, 12, 13, 14, 15, 15, 15], rtol=1e-6)
    assert not np.any(found[0, ::2])
