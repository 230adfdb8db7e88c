"""Compares connected components (26 neighbors) with cc3d, an independent C++ library."""

import cc3d
import nibabel as nib
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from kits_tf.ops import components

SHAPE = (9, 14, 11)


def label(mask):
    numbered, count = components.label_components(tf.constant(np.ascontiguousarray(mask)))
    return numbered.numpy(), int(count)


def check_partition(mask):
    """Checks that our numbers and cc3d's denote the same sets of voxels, and that ours run from 1 to the count."""
    numbered, count = label(mask)
    expected, expected_count = cc3d.connected_components(mask, connectivity=26, return_N=True)
    assert numbered.shape == mask.shape
    assert numbered.dtype == np.int32
    assert count == expected_count
    pairs = np.unique(numbered.astype(np.int64) * (expected_count + 1) + expected)
    ours, theirs = np.divmod(pairs, expected_count + 1)
    inside = np.arange(1, count + 1)
    outside = [] if mask.all() else [0]
    assert ours.tolist() == [*outside, *inside]  # each number once: none of our components is two of theirs
    assert sorted(theirs.tolist()) == [*outside, *inside]  # none of theirs is two of ours
    assert (numbered > 0).sum() == mask.sum()


def worm(shape, step):
    """Returns one path that fills the volume back and forth in rows `step` apart, without touching itself."""
    mask = np.zeros(shape, bool)
    for z in range(0, shape[0], step):
        rows = range(0, shape[1], step)
        for index, y in enumerate(rows):
            mask[z, y, :] = True
            if index + 1 < len(rows):
                mask[z, y:y + step, -1 if index % 2 == 0 else 0] = True
        if z + step < shape[0]:  # continue to the next slice from the path's end
            mask[z:z + step, rows[-1], -1 if len(rows) % 2 else 0] = True
    return mask


def spiral(size):
    """Returns a path one voxel wide from the rim of a slice to its middle."""
    mask = np.zeros((1, size, size), bool)
    y, x, dy, dx = 0, 0, 0, 1
    mask[0, 0, 0] = True
    for length in [size - 1] + [run for step in range(size - 1, 1, -2) for run in (step, step)]:
        for _ in range(length):
            y, x = y + dy, x + dx
            mask[0, y, x] = True
        dy, dx = dx, -dy
    return mask


def helix(turns=6, radius=5):
    """Returns a coil of voxels that touch only at corners."""
    mask = np.zeros((turns * 8, 2 * radius + 3, 2 * radius + 3), bool)
    for t in np.linspace(0, 1, 40 * turns):
        angle = 2 * np.pi * turns * t
        place = np.rint([t * (len(mask) - 1), radius + 1 + radius * np.sin(angle), radius + 1 + radius * np.cos(angle)])
        mask[tuple(place.astype(int))] = True
    return mask


@pytest.mark.parametrize("density", [0.002, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 0.99])
@pytest.mark.parametrize("seed", range(2))
def test_random_masks_have_the_components_that_cc3d_finds(density, seed):
    mask = np.random.default_rng(seed).random((24, 31, 27)) < density
    check_partition(mask)


@pytest.mark.parametrize("smooth", [1.0, 2.0])
def test_ragged_blobs_have_the_components_that_cc3d_finds(smooth):
    field = ndimage.gaussian_filter(np.random.default_rng(5).standard_normal((30, 40, 35)), smooth)
    check_partition(field > 0.5 * field.std())


PATHS = {"worm": worm((9, 14, 11), 2), "wide worm": worm((13, 16, 40), 3), "spiral": spiral(41), "helix": helix()}


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("flip", [False, True])
def test_a_long_path_is_one_component_from_either_end(name, flip):
    mask = PATHS[name][::-1, ::-1, ::-1] if flip else PATHS[name]
    assert label(mask)[1] == 1
    check_partition(mask)


def test_a_path_cut_once_is_two():
    mask = spiral(41)
    where = np.argwhere(mask)
    mask[0, 0, 20] = False
    assert label(mask)[1] == 2
    assert len(where) - mask.sum() == 1
    check_partition(mask)


@pytest.mark.parametrize("shape", [SHAPE, (1, 14, 11), (9, 1, 1), (1, 1, 1)])
def test_an_empty_mask_has_no_component_and_a_full_one_has_one(shape):
    numbered, count = label(np.zeros(shape, bool))
    assert (numbered.any(), count) == (False, 0)
    numbered, count = label(np.ones(shape, bool))
    assert (numbered.min(), numbered.max(), count) == (1, 1, 1)


@pytest.mark.parametrize("place", [(0, 0, 0), (8, 13, 10), (4, 0, 10)])
def test_one_voxel_is_one_component(place):
    mask = np.zeros(SHAPE, bool)
    mask[place] = True
    numbered, count = label(mask)
    assert count == 1
    assert np.argwhere(numbered).tolist() == [list(place)]


def test_corners_touch_and_gaps_do_not():
    mask = np.zeros((4, 5, 6), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True  # touch at a corner
    mask[1, 1, 3] = True  # two voxels away along x
    mask[3, 4, 5] = True
    assert label(mask)[1] == 3


def test_the_end_of_a_row_does_not_touch_the_start_of_the_next():
    mask = np.zeros((3, 4, 5), bool)
    mask[0, 0, 4] = mask[0, 2, 0] = mask[2, 0, 0] = True
    assert label(mask)[1] == 3


def test_numbers_rise_with_each_components_last_voxel():
    mask = np.zeros((3, 4, 5), bool)
    mask[0, 0, 0] = mask[0, 0, 4] = mask[2, 3, 4] = True
    mask[0:3, 3, 0] = True  # its first and last voxels come before those of the third
    numbered, _ = label(mask)
    assert [numbered[place] for place in ((0, 0, 0), (0, 0, 4), (2, 3, 0), (2, 3, 4))] == [1, 2, 3, 4]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(arrays.arrays(bool, arrays.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7)))
def test_small_masks_of_any_shape_have_the_components_that_cc3d_finds(mask):
    check_partition(mask)


def test_a_graph_of_unknown_shapes_gives_what_eager_gives():
    graph = tf.function(components.label_components, input_signature=[tf.TensorSpec((None, None, None), tf.bool)])
    for shape, density in (((6, 7, 8), 0.1), ((1, 20, 3), 0.4), ((5, 5, 5), 0.0)):
        mask = np.random.default_rng(1).random(shape) < density
        numbered, count = graph(tf.constant(mask))
        assert np.array_equal(numbered, label(mask)[0])
        assert count == label(mask)[1]


@pytest.fixture(scope="module")
def scattered():
    mask = np.random.default_rng(8).random(SHAPE) < 0.06
    numbered, count = components.label_components(tf.constant(mask))
    assert count > 10
    return numbered, count


@pytest.mark.parametrize("weight", [1.0, 0.25, 16.0])
def test_sizes_are_voxels_times_their_weight(scattered, weight):
    numbered, count = scattered
    sizes = components.component_sizes(numbered, count, weight).numpy()
    assert sizes.dtype == np.float64
    assert sizes.tolist() == [(numbered.numpy() == index).sum() * weight for index in range(1, int(count) + 1)]


def test_touching_counts_corners(scattered):
    numbered, count = scattered
    mask = np.zeros(SHAPE, bool)
    mask[2:4, 3:6, 7] = mask[8, 13, 10] = True
    near = ndimage.binary_dilation(mask, np.ones((3, 3, 3)))
    expected = [(near & (numbered.numpy() == index)).any() for index in range(1, int(count) + 1)]
    found = components.touching(numbered, count, tf.constant(mask)).numpy()
    assert found.tolist() == expected
    assert 0 < found.sum() < len(found)


def test_nothing_touches_an_empty_mask(scattered):
    assert not components.touching(*scattered, tf.zeros(SHAPE, tf.bool)).numpy().any()


def test_select_takes_the_chosen_and_no_other(scattered):
    numbered, count = scattered
    chosen = np.arange(int(count)) % 3 == 0
    expected = np.isin(numbered.numpy(), np.flatnonzero(chosen) + 1)
    assert np.array_equal(components.select(numbered, tf.constant(chosen)), expected)
    assert not components.select(numbered, tf.zeros(count, tf.bool)).numpy().any()


def test_where_there_is_no_component_none_is_measured_touched_or_selected():
    numbered, count = components.label_components(tf.zeros(SHAPE, tf.bool))
    assert components.component_sizes(numbered, count).shape == (0,)
    assert components.touching(numbered, count, tf.ones(SHAPE, tf.bool)).shape == (0,)
    assert not components.select(numbered, tf.zeros((0,), tf.bool)).numpy().any()


def check_real(paths):
    for path in paths:
        labels = np.asarray(nib.load(path).dataobj, np.uint8)
        (box,) = ndimage.find_objects(labels > 0, max_label=1)
        labels = np.ascontiguousarray(labels[tuple(slice(max(side.start - 2, 0), side.stop + 3) for side in box)])
        check_partition(labels >= 1)
        check_partition(labels == 2)


def by_size(paths):
    return sorted(paths, key=lambda path: path.stat().st_size)


def test_three_real_masks_have_the_components_that_cc3d_finds(real_masks):
    check_real(by_size(real_masks)[:3])


@pytest.mark.soak
def test_all_real_masks_have_the_components_that_cc3d_finds(real_masks):
    check_real(by_size(real_masks)[3:])
