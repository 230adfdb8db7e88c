"""Tiles that fit: as few as full ones, no larger than they must be, and every voxel of the extent in one."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as some

from kits_tf.cascade import tiling
from kits_tf.ops import crop


@settings(deadline=None, max_examples=100, derandomize=True)
@given(extent=some.integers(1, 500), size=some.sampled_from([8, 24, 64, 128]), share=some.sampled_from([0, 0.25, 0.5]))
def test_fitting_tiles_cover_the_extent_with_as_few_tiles_and_little_beyond(extent, size, share):
    overlap = int(size * share)

    def laid(length):
        return crop.cover_axis(tf.constant(0), tf.constant(extent), tf.constant(extent / 2 - 0.5), length, overlap)

    fitting = tiling.fitting_size(tf.constant(extent), size, overlap)
    starts, full = laid(fitting).numpy(), laid(size).numpy()
    fitting = int(fitting)
    assert fitting == size or (fitting < size and fitting % tiling.STEP == 0)
    assert len(starts) == len(full)
    covered = {voxel for start in starts for voxel in range(start, start + fitting)}
    assert set(range(extent)) <= covered
    if len(starts) > 1:
        assert min(np.diff(starts) * -1 + fitting) >= overlap
    # What region_around holds beyond the frame is enough for a tile that is larger than the extent.
    assert min(covered) >= -tiling.STEP // 2
    assert max(covered) < extent + tiling.STEP // 2 + 1
    assert fitting < tiling.STEP or len(starts) * (fitting - tiling.STEP) < extent + (len(starts) - 1) * overlap


def test_small_tiles_are_blended_as_fixed_ones_are():
    image = tf.random.stateless_uniform((20, 30, 28), (1, 2))
    positions = [tf.constant([0, 4]), tf.constant([0, 14]), tf.constant([0, 12])]
    shapes = []

    def net(blocks):
        shapes.append(blocks.shape)
        return blocks * 0.5

    size = tf.constant(16)
    found = tf.function(lambda: tiling.predict_tiles(net, [image], positions, (size, size, size), tiling.BLOCK))()
    np.testing.assert_allclose(found, image * 0.5, atol=1e-6)
    assert shapes[-1].as_list() == [1, None, None, None, 1]
