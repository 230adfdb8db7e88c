"""Tests cutting and pasting blocks, covering a box with crops, and dilation, by hand, with NumPy and SciPy."""

import numpy as np
import pytest
import tensorflow as tf
from harness.triangles import block_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from kits_tf.ops import crop

SHAPE = (4, 5, 7)
VOXELS = np.random.default_rng(0).integers(1, 100, SHAPE).astype(np.float32)
PLACES = [((0, 0, 0), SHAPE), ((1, 2, 3), (2, 3, 2)), ((-2, -1, 5), (4, 3, 6)), ((-3, -3, -3), (12, 12, 12)),
          ((3, 4, 6), (1, 1, 1)), ((-6, 0, 0), (3, 3, 3)), ((0, 5, 0), (2, 2, 2)), ((0, 0, 30), (4, 4, 4)),
          ((-9, 12, 2), (2, 3, 4)), ((-4, 0, 0), (4, 3, 3))]  # the last five lie entirely outside


@pytest.mark.parametrize(("start", "size"), PLACES)
@pytest.mark.parametrize("fill", [0.0, -1024.0])
def test_a_crop_reads_the_array_inside_and_the_fill_outside(start, size, fill):
    block = crop.crop(VOXELS, tf.constant(start), size, fill)
    assert np.array_equal(block, block_of(VOXELS, start, size, fill))


@pytest.mark.parametrize(("start", "size"), PLACES)
@pytest.mark.parametrize("dtype", [tf.float32, tf.int32, tf.uint8, tf.float64])
def test_paste_add_undoes_crop_and_writes_nowhere_else(start, size, dtype):
    source = tf.cast(VOXELS, dtype)
    block = crop.crop(source, tf.constant(start), size)
    back = crop.paste_add(tf.zeros_like(source), block, tf.constant(start)).numpy()
    inside = block_of(np.arange(VOXELS.size).reshape(SHAPE), start, size, -1)
    kept = np.isin(np.arange(VOXELS.size), inside).reshape(SHAPE)
    assert np.array_equal(back, np.where(kept, source, 0))
    assert kept.sum() == (inside >= 0).sum()


@pytest.mark.parametrize(("start", "size"), PLACES)
def test_crop_undoes_paste_where_the_block_lies_inside(start, size):
    block = np.random.default_rng(1).uniform(1, 2, size).astype(np.float32)
    pasted = crop.paste_add(tf.zeros(SHAPE), block, tf.constant(start))
    back = crop.crop(pasted, tf.constant(start), size)
    inside = block_of(np.ones(SHAPE), start, size, 0) == 1
    assert np.array_equal(back, np.where(inside, block, 0))


@pytest.mark.parametrize(("start", "size"), PLACES)
def test_paste_max_keeps_the_larger_and_pasted_twice_add_counts_twice(start, size):
    block = np.random.default_rng(2).integers(1, 100, size).astype(np.float32)
    there = tf.constant(start)
    padded = block_of(block, tuple(-at for at in start), SHAPE, -np.inf)
    assert np.array_equal(crop.paste_max(VOXELS, block, there), np.maximum(VOXELS, padded))
    twice = crop.paste_add(crop.paste_add(VOXELS, block, there), block, there)
    assert np.array_equal(twice, VOXELS + 2 * np.maximum(padded, 0))


def test_a_paste_leaves_its_array_as_it_was():
    array = tf.zeros(SHAPE)
    crop.paste_add(array, tf.ones((2, 2, 2)), tf.constant((1, 1, 1)))
    crop.paste_max(array, tf.ones((2, 2, 2)), tf.constant((1, 1, 1)))
    assert not array.numpy().any()


def test_crop_and_paste_know_their_shapes_in_a_graph():
    @tf.function(input_signature=[tf.TensorSpec((None, None, None)), tf.TensorSpec((3,), tf.int32)])
    def there_and_back(array, start):
        block = crop.crop(array, start, (2, 3, 4), -5.0)
        assert block.shape == (2, 3, 4)
        return crop.paste_max(array, block + 1.0, start)

    start = (3, -1, 5)
    expected = VOXELS.copy()
    expected[3:, :2, 5:] += 1
    assert np.array_equal(there_and_back(VOXELS, tf.constant(start)), expected)


def test_four_axes_are_cut_alike():
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    block = crop.crop(tf.constant(array), tf.constant((1, -1, 2, 3)), (2, 3, 1, 4))
    expected = np.zeros((2, 3, 1, 4), int)
    expected[0, 1:, 0, :2] = array[1, :2, 2, 3:]
    assert np.array_equal(block, expected)


@pytest.mark.parametrize(("start", "stop", "centre", "size", "overlap", "positions"), [
    (10, 20, 14.5, 16, 4, [7]),  # half a voxel rounds up: 15 - 8
    (10, 20, 14.4, 16, 4, [6]),
    (10, 20, 2.0, 16, 4, [4]),  # limited by the extent's end
    (10, 20, 40.0, 16, 4, [10]),
    (10, 26, 0.0, 16, 4, [10]),  # exactly as large
    (10, 27, 18.0, 16, 4, [10, 11]),
    (0, 28, 14.0, 16, 4, [0, 12]),  # two crops with an overlap of 4 just suffice
    (0, 29, 14.0, 16, 4, [0, 6, 13]),
    (-5, 35, 0.0, 16, 0, [-5, 7, 19]),
    (3, 3, 7.0, 5, 0, [3]),  # empty extent
])
def test_cover_axis_by_hand(start, stop, centre, size, overlap, positions):
    assert crop.cover_axis(start, stop, centre, size, overlap).numpy().tolist() == positions


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.integers(-50, 300), st.integers(1, 400), st.floats(-100, 700, width=32), st.integers(1, 200), st.data())
def test_crops_cover_all_and_overlap_and_a_single_one_moves_no_more_than_it_must(start, extent, centre, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    stop = start + extent
    found = crop.cover_axis(tf.constant(start), tf.constant(stop), tf.constant(centre), size, overlap).numpy()
    assert found[0] <= start
    assert found[-1] + size >= stop
    if extent <= size:
        wanted = int(np.floor(np.float32(centre) + np.float32(0.5))) - size // 2
        allowed = range(stop - size, start + 1)  # all crops that contain the extent
        assert found.tolist() == [min(allowed, key=lambda at: abs(at - wanted))]
    else:
        steps = np.diff(found)
        assert (found[0], found[-1]) == (start, stop - size)
        assert steps.max() <= size - overlap
        assert steps.max() - steps.min() <= 1
        assert (extent - size) > (len(found) - 2) * (size - overlap)  # one crop fewer would not suffice


def test_grid_of_lists_all_combinations_in_order():
    grid = crop.grid_of(tf.constant([1, 2]), tf.constant([5]), tf.constant([7, 8])).numpy()
    assert grid.tolist() == [[1, 5, 7], [1, 5, 8], [2, 5, 7], [2, 5, 8]]


@pytest.mark.parametrize("density", [0.01, 0.1, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_box_of_is_the_smallest_box(density, seed):
    mask = np.random.default_rng(seed).random((6, 9, 11)) < density
    start, stop = (edge.numpy() for edge in crop.box_of(tf.constant(mask)))
    where = np.argwhere(mask)
    assert start.tolist() == where.min(axis=0).tolist()
    assert stop.tolist() == (where.max(axis=0) + 1).tolist()


@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 7), (5,)])
def test_box_of_an_empty_mask_is_zero_and_cuts_nothing(shape):
    start, stop = crop.box_of(tf.zeros(shape, tf.bool))
    assert start.numpy().tolist() == stop.numpy().tolist() == [0] * len(shape)


def test_box_of_a_row():
    start, stop = crop.box_of(tf.constant([False, True, False, True, False]))
    assert (start.numpy().tolist(), stop.numpy().tolist()) == ([1], [4])


@pytest.mark.parametrize("radius", [(0, 0, 0), (1, 1, 1), (0, 2, 3), (3, 0, 1), (5, 7, 6), (30, 1, 0)])
def test_dilate_is_scipys_with_a_box(radius):
    mask = np.random.default_rng(4).random((8, 15, 19)) < 0.01
    box = np.ones([2 * reach + 1 for reach in radius], bool)
    assert np.array_equal(crop.dilate(tf.constant(mask), radius), ndimage.binary_dilation(mask, box))


@pytest.mark.parametrize("reach", range(12))
def test_one_voxel_grows_by_its_reach_either_way(reach):
    mask = np.zeros((1, 1, 25), bool)
    mask[0, 0, 12] = True
    grown = crop.dilate(tf.constant(mask), (2, 3, reach)).numpy()
    assert np.flatnonzero(grown).tolist() == list(range(12 - reach, 12 + reach + 1))


def test_nothing_grows_from_an_empty_mask():
    assert not crop.dilate(tf.zeros((3, 4, 5), tf.bool), (2, 2, 2)).numpy().any()


@pytest.mark.parametrize("by", [-9, -5, -2, -1, 0, 1, 3, 5, 8])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_shift_moves_an_axis_and_lets_in_zeros(axis, by):
    start = [0, 0, 0]
    start[axis] = -by
    assert np.array_equal(crop.shift(tf.constant(VOXELS), axis, by), block_of(VOXELS, start, SHAPE, 0))
