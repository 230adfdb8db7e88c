"""Tests which components are kidneys, how the results of their crops combine, and which parts are kept.

SciPy's components give the expected parts that are connected to the earlier mask.
"""

import numpy as np
import pytest
import tensorflow as tf
from harness.ellipses import tiny_config
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from kits_tf.cascade.kidney_steps import (
    THRESHOLD,
    Region,
    find_kidneys,
    keep_found,
    keep_largest,
    mask_at,
    predict_kidneys,
)

CUBE = np.ones((3, 3, 3), bool)


def kept(probabilities, mask, origin=(0, 0, 0), scale=(1, 1, 1), offset=(0, 0, 0)):
    """Applies keep_found to the kidneys that find_kidneys finds in a mask."""
    kidneys = find_kidneys(tf.constant(mask), tf.constant(scale, tf.float32), tf.constant(offset, tf.float32),
                           tf.constant([1000] * 3), min_voxels=1e6)  # small components count too
    region = Region(kidneys, None, tf.constant(origin, tf.int32), None)
    found, dropped = keep_found(tf.constant(probabilities, tf.float32), region)
    return found.numpy(), int(dropped)


def test_a_part_that_touches_the_mask_at_a_corner_stays_and_one_voxel_further_goes():
    mask = np.zeros((12, 30, 30), bool)
    mask[3:8, 8:16, 8:16] = True
    probabilities = np.full(mask.shape, 0.2, np.float32)
    probabilities[4:6, 10:14, 10:14] = 0.9
    near, far = (8, 16, 16), (1, 6, 6)
    probabilities[near] = probabilities[far] = 0.8
    found, dropped = kept(probabilities, mask)
    assert found[near] == np.float32(0.8) and found[far] == 0 and dropped == 1
    expected = probabilities.copy()
    expected[far] = 0
    np.testing.assert_array_equal(found, expected)  # without the voxels around it


@pytest.mark.parametrize(("offset", "touches"), [
    ((-104, -200, -296), True), ((-103, -200, -296), True), ((-102, -200, -296), False), ((-104, -203, -296), True),
    ((-104, -204, -296), False), ((-104, -200, -340), True), ((-104, -200, -295), False)])
def test_a_part_stays_whole_if_it_touches_the_mask_on_its_own_grid_wherever_the_region_begins(offset, touches):
    mask = np.zeros((4, 6, 5), bool)
    mask[1, 2, 3] = True  # with the first offset the region's z 105, y 208 to 211, x 308 to 311
    probabilities = np.zeros((12, 30, 60), np.float32)
    probabilities[5, 10, 12:55] = 0.9  # a rod that begins at x 312
    found, dropped = kept(probabilities, mask, origin=(100, 200, 300), scale=(1, 4, 4), offset=offset)
    assert dropped == (not touches)
    np.testing.assert_array_equal(found, probabilities * touches)


def test_a_mask_is_empty_beyond_its_grid():
    mask = tf.ones((2, 3, 4), tf.bool)
    places = [tf.range(-2.0, 6.0) + 0.5] * 3
    seen = mask_at(mask, tf.constant([1.0, 2.0, 0.5]), tf.constant([0.0, 0.0, 1.0]), places).numpy()
    expected = np.ones((8, 8, 8), bool)
    for axis, (first, last) in enumerate([(0, 2), (0, 6), (-1, 1)]):
        along = np.arange(-2, 6) + 0.5
        shape = [-1 if other == axis else 1 for other in range(3)]
        expected &= ((along > first) & (along < last)).reshape(shape)
    np.testing.assert_array_equal(seen, expected)


MASK = arrays.arrays(bool, (6, 7, 8), elements=st.booleans(), fill=st.just(False))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(found=MASK, mask=MASK)
def test_the_parts_that_stay_are_those_of_scipy_that_touch_the_mask(found, mask):
    probabilities = np.where(found, 0.75, 0.25 * THRESHOLD).astype(np.float32)
    answer, dropped = kept(probabilities, mask)
    numbered, count = ndimage.label(found, CUBE)
    reached = np.unique(numbered[ndimage.binary_dilation(mask, CUBE)])
    loose = found & ~np.isin(numbered, reached)
    assert dropped == count - np.count_nonzero(reached)
    np.testing.assert_array_equal(answer, np.where(loose, 0, probabilities))


@settings(deadline=None, max_examples=20)
@given(arrays.arrays(np.bool_, (4, 7, 7)), st.integers(0, 4))
def test_the_largest_parts_stay_and_the_voxels_around_them(found, most):
    probabilities = np.where(found, 0.9, 0.2).astype(np.float32)
    numbered, count = ndimage.label(found, CUBE)
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
    kept, dropped = keep_largest(tf.constant(probabilities), most)
    assert int(dropped) == (max(count - most, 0) if most else 0)
    stays = kept.numpy() > THRESHOLD
    left = np.unique(numbered[stays])
    assert len(left) == (min(count, most) if most else count)
    assert sorted(sizes[left - 1]) == sorted(sizes)[count - len(left):]
    np.testing.assert_array_equal(stays, np.isin(numbered, left) & found)
    np.testing.assert_array_equal(kept.numpy()[~found], np.float32(0.2))


def test_a_component_must_be_larger_than_the_threshold_to_be_a_kidney():
    mask = np.zeros((4, 6, 8), bool)
    mask[1:3, 2:4, 2:5] = True  # 12 voxels, each of them 4 normalized ones
    for threshold, kidneys in ((47.5, 1), (48.0, 0)):
        found = find_kidneys(tf.constant(mask), tf.constant([1.0, 2.0, 2.0]), tf.zeros(3), tf.constant([4, 12, 16]),
                             threshold)
        assert len(found.start) == kidneys
        np.testing.assert_array_equal(found.voxels, [48.0])


def test_overlapping_crops_are_averaged_within_a_kidney_and_the_larger_counts_between_two():
    mask = np.zeros((8, 60, 80), bool)
    mask[2:6, 10:20, 10:20] = mask[2:6, 14:22, 24:32] = True  # each within the other's crop of 24 x 24
    mask[2:6, 36:44, 10:70] = True  # as wide as several crops
    grid = tf.constant(mask.shape)
    kidneys = find_kidneys(tf.constant(mask), tf.ones(3), tf.zeros(3), grid, min_voxels=100.0)
    assert len(kidneys.start) == 3
    region = Region(kidneys, tf.zeros(mask.shape), tf.zeros(3, tf.int32), grid)
    found = predict_kidneys(lambda images: 0.3 * tf.ones_like(images[..., :1]), region, tiny_config(), batch=4).numpy()
    np.testing.assert_allclose(found[found > 0], 0.3, rtol=1e-5)
    assert (found[mask] > 0).all() and (found == -1).any()
