"""Compares resampling with scipy.ndimage (upsampling), tf.image.resize (downsampling) and arithmetic by hand."""

import math
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from harness.prepared import by_scipy
from harness.triangles import block_of, resample_axis
from harness.triangles import resample as by_definition
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from kits_tf.ops import resample

SHAPE = (5, 7, 9)
# Upsampling, downsampling, both, odd to even and back, unchanged, down to one voxel, large factors.
GRIDS = [(8, 12, 15), (3, 4, 5), (9, 4, 9), (6, 8, 8), (5, 7, 9), (1, 1, 1), (23, 2, 31)]


def noise(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(-900, 900, shape).astype(np.float32)


def whole(volume, grid, floor=None):
    return resample.resample_box(volume, tf.constant(grid), tf.constant([0, 0, 0]), tf.constant(grid), floor).numpy()


def shrunk_by_tf_image(volume, grid):
    in_plane = tf.image.resize(volume[..., np.newaxis], grid[1:], antialias=True)[..., 0]
    across = tf.transpose(in_plane, (1, 0, 2))[..., np.newaxis]
    return tf.transpose(tf.image.resize(across, (grid[0], grid[2]), antialias=True)[..., 0], (1, 0, 2)).numpy()


@pytest.mark.parametrize("grid", [(8, 12, 15), (5, 14, 9), (6, 8, 10), (50, 7, 11)])
def test_enlarging_is_scipys_linear_interpolation(grid):
    volume = noise()
    np.testing.assert_allclose(whole(volume, grid), by_scipy(volume, grid), atol=2e-3)
    np.testing.assert_allclose(by_definition(volume, grid), by_scipy(volume, grid), atol=1e-6)


@pytest.mark.parametrize("grid", [(3, 4, 5), (2, 3, 4), (5, 6, 8), (1, 1, 1), (4, 2, 9)])
def test_shrinking_is_tf_image_resize_with_antialias(grid):
    volume = noise()
    np.testing.assert_allclose(whole(volume, grid), shrunk_by_tf_image(volume, grid), atol=2e-3)
    np.testing.assert_allclose(by_definition(volume, grid), shrunk_by_tf_image(volume, grid), atol=2e-3)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("shape", [SHAPE, (1, 7, 9), (12, 1, 4)])
def test_any_change_of_size_is_the_definition(shape, grid):
    volume = noise(shape)
    np.testing.assert_allclose(whole(volume, grid), by_definition(volume, grid), atol=2e-3)


def test_halving_weighs_four_voxels_1_3_3_1():
    weights = resample.axis_weights(8, 4).numpy()
    np.testing.assert_allclose(weights[1], [0, 1 / 8, 3 / 8, 3 / 8, 1 / 8, 0, 0, 0], atol=1e-7)
    np.testing.assert_allclose(weights[0], [3 / 7, 3 / 7, 1 / 7, 0, 0, 0, 0, 0], atol=1e-7)  # the first 1 is cut off


def test_doubling_puts_new_voxels_a_quarter_either_way():
    weights = resample.axis_weights(3, 6).numpy()
    np.testing.assert_allclose(weights, [
        [1, 0, 0], [.75, .25, 0], [.25, .75, 0], [0, .75, .25], [0, .25, .75], [0, 0, 1]], atol=1e-7)


def test_the_same_size_changes_nothing_at_all():
    volume = noise()
    assert np.array_equal(whole(volume, SHAPE), volume)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(-5, 45), st.integers(1, 12))
def test_rows_inside_sum_to_1_and_rows_outside_to_0(size_in, size_out, first, length):
    weights = resample.axis_weights(size_in, size_out, rows=(first, first + length)).numpy()
    inside = [0 <= row < size_out for row in range(first, first + length)]
    np.testing.assert_allclose(weights.sum(axis=1), np.array(inside, float), atol=1e-6)
    assert (weights >= 0).all()


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(-5, 45), st.integers(1, 12))
def test_source_range_leaves_out_no_voxel_that_has_weight(size_in, size_out, first, length):
    rows = (first, first + length)
    start, stop = (int(edge) for edge in resample.source_range(size_in, size_out, rows))
    assert 0 <= start < stop <= size_in
    weights = resample.axis_weights(size_in, size_out, rows).numpy()
    assert weights[:, :start].sum() + weights[:, stop:].sum() == 0
    needed = np.flatnonzero(weights.any(axis=0))
    if len(needed):
        assert needed[0] - start <= 2  # at most two voxels more than needed
        assert stop - 1 - needed[-1] <= 2


@pytest.mark.parametrize(("shape", "spacing_mm", "target_mm", "grid"), [
    ((60, 512, 512), (5.0, 0.7816, 0.7816), (3.0, 0.7816, 0.7816), (100, 512, 512)),
    ((61, 512, 400), (5.0, 0.9, 0.5), (3.0, 0.7816, 0.7816), (102, 590, 256)),  # 101.67, 589.56, 255.89
    ((1, 1, 1), (0.5, 0.1, 0.1), (3.0, 0.7816, 0.7816), (1, 1, 1)),  # at least one voxel
    ((3, 5, 7), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (2, 2, 4)),  # 1.5, 2.5 and 3.5 round to even, as in Python
])
def test_grid_size_is_the_extent_over_the_spacing_rounded(shape, spacing_mm, target_mm, grid):
    assert tuple(resample.grid_size(shape, spacing_mm, target_mm).numpy()) == grid
    assert grid == tuple(max(1, round(n * s / t)) for n, s, t in zip(shape, spacing_mm, target_mm, strict=True))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(1, 1000), st.integers(1000, 60000))
def test_grid_size_is_one_whether_spacing_comes_as_float32_tensor_or_float(voxels, tenths_of_micrometers):
    mm = tenths_of_micrometers / 1e4
    target = (3.0, 0.7816, 1.5632)
    as_floats = resample.grid_size((voxels,) * 3, (mm,) * 3, target).numpy()
    as_tensor = resample.grid_size(tf.constant([voxels] * 3), tf.constant([mm] * 3, tf.float32), target).numpy()
    assert as_floats.tolist() == as_tensor.tolist()


@pytest.mark.parametrize("mm", [0.3908, 1.1724, 1.954])  # half the target, one and a half, two and a half
def test_grid_size_of_an_extent_that_ends_in_half_a_voxel_does_not_depend_on_float32_noise(mm):
    for voxels in range(1, 600, 6):
        shape = [voxels, voxels + 2, voxels + 4]
        found = resample.grid_size(shape, tf.constant([mm] * 3, tf.float32), (0.7816,) * 3).numpy()
        assert found.tolist() == resample.grid_size(shape, np.full(3, mm), np.full(3, 0.7816)).numpy().tolist()
        assert found.tolist() == [max(1, round(length * Fraction(str(mm)) / Fraction("0.7816"))) for length in shape]


@pytest.mark.parametrize(("slices", "slice_mm"), [(723, 0.5), (241, 1.5), (25, 1.5), (101, 4.5), (63, 4.5)])
def test_half_a_slice_is_rounded_alike_in_a_graph_of_a_fixed_target(slices, slice_mm):
    # A graph optimizer that turned a division by a constant into a product made 121 slices of 120.5.
    @tf.function(input_signature=[tf.TensorSpec((None, None, None)), tf.TensorSpec((3,))])
    def grid_of(volume, spacing_mm):
        return resample.grid_size(tf.shape(volume), spacing_mm, (3.0, 0.7816, 0.7816))

    grid = grid_of(tf.zeros((slices, 4, 5)), tf.constant((slice_mm, 0.7816, 0.7816))).numpy()
    assert grid.tolist() == [round(slices * slice_mm / 3.0), 4, 5]


@pytest.mark.parametrize("grid", GRIDS[:-1])
@pytest.mark.parametrize(("start", "size"), [
    ((1, 2, 3), (2, 2, 3)), ((0, 0, 0), (1, 1, 1)), ((-2, -3, -1), (6, 7, 5)), ((2, 3, 4), (9, 9, 20)),
    ((-4, -4, -4), (40, 30, 40)), ((-9, 0, 0), (4, 3, 3)), ((0, 99, 0), (2, 2, 2))])
@pytest.mark.parametrize("floor", [None, -500.0])
def test_a_block_is_the_same_block_of_the_whole(grid, start, size, floor):
    volume = noise()
    block = resample.resample_box(volume, tf.constant(grid), tf.constant(start), tf.constant(size), floor).numpy()
    assert block.shape == size
    outside = 0.0 if floor is None else floor
    np.testing.assert_allclose(block, block_of(whole(volume, grid, floor), start, size, outside), atol=1e-3)


def test_values_below_the_floor_are_raised_before_resampling():
    volume = np.full((4, 5, 6), 100.0, np.float32)
    volume[:, :, 0] = -3000.0  # outside the scanner's circle
    found = whole(volume, (4, 5, 12), floor=-1024.0)
    np.testing.assert_allclose(found[1, 2, :5], [-1024, -743, -181, 100, 100], atol=1e-2)  # steps of 1124 / 4
    assert found.min() == -1024


@pytest.mark.parametrize("grid", GRIDS[:4])
def test_resampling_with_a_floor_is_that_of_the_raised_volume(grid):
    volume = noise()
    np.testing.assert_allclose(whole(volume, grid, -200.0), by_definition(np.maximum(volume, -200.0), grid), atol=2e-3)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 8, 100])
def test_slices_at_a_time_do_not_matter(monkeypatch, chunk):
    monkeypatch.setattr(resample, "CHUNK", chunk)
    volume = noise((11, 6, 5))
    weights = [resample.axis_weights(size_in, size_out, rows) for size_in, size_out, rows in
               ((11, 7, (-2, 9)), (6, 9, None), (5, 3, (1, 3)))]
    at_once = np.einsum("az,by,cx,zyx->abc", *(matrix.numpy() for matrix in weights), volume)
    np.testing.assert_allclose(resample.apply_weights(volume, weights), at_once, atol=2e-3)


def square_by_definition(volume, grid, size, air):
    """Normalizes, pads to a square and resizes, in separate steps."""
    normalized = by_definition(volume, grid)
    square = max(grid[1:])
    before = [(square - length) // 2 for length in grid[1:]]
    padded = np.full((grid[0], square, square), air, np.float64)
    padded[:, before[0]:before[0] + grid[1], before[1]:before[1] + grid[2]] = normalized
    return by_definition(padded, (grid[0], size, size))


@pytest.mark.parametrize("grid", [(7, 12, 9), (7, 9, 14), (3, 4, 4), (5, 6, 17), (5, 16, 5)])
@pytest.mark.parametrize("size", [8, 21])
def test_resample_square_normalizes_pads_with_air_and_resizes(grid, size):
    volume = noise()
    found = resample.resample_square(volume, tf.constant(grid), size, floor=-1024.0).numpy()
    np.testing.assert_allclose(found, square_by_definition(volume, grid, size, -1024.0), atol=3e-3)
    mask = (volume > 0).astype(np.uint8)
    found = resample.resample_square(mask, tf.constant(grid), size).numpy()
    np.testing.assert_allclose(found, square_by_definition(mask, grid, size, 0.0), atol=1e-5)


@pytest.mark.parametrize(("shape", "grid"), [(SHAPE, (8, 12, 15)), (SHAPE, (3, 5, 4)), ((1, 6, 20), (3, 9, 8))])
@pytest.mark.parametrize(("start", "size"), [((0, 0, 0), (3, 4, 4)), ((1, 2, 1), (1, 2, 3)), ((2, 3, 0), (1, 1, 4))])
def test_a_block_comes_back_as_it_would_inside_an_empty_volume(shape, grid, start, size):
    block = np.random.default_rng(1).uniform(0.1, 1.0, size).astype(np.float32)
    padded = np.zeros(grid, np.float32)
    padded[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = block
    expected = by_definition(padded, shape)
    values, at = resample.resample_back(block, tf.constant(grid), tf.constant(start), tf.constant(shape))
    found = np.zeros(shape)
    found[tuple(slice(a, a + n) for a, n in zip(at.numpy(), values.shape, strict=True))] = values
    np.testing.assert_allclose(found, expected, atol=1e-5)  # outside the block, all values are zero
    mask, again = resample.resample_back(block, tf.constant(grid), tf.constant(start), tf.constant(shape), above=0.3)
    assert mask.dtype == tf.bool and again.numpy().tolist() == at.numpy().tolist()
    np.testing.assert_array_equal(mask, values > 0.3)


@pytest.mark.parametrize(("shape", "grid"), [((9, 14, 20), (15, 21, 33)), ((12, 24, 28), (8, 17, 14))])
def test_a_linear_ramp_comes_back_where_it_was(shape, grid):
    ramps = np.meshgrid(*(np.arange(length, dtype=np.float32) for length in shape), indexing="ij")
    for axis, ramp in enumerate(ramps):
        there = resample.resample_box(ramp, tf.constant(grid), tf.zeros(3, tf.int32), tf.constant(grid))
        back, start = resample.resample_back(there, tf.constant(grid), tf.zeros(3, tf.int32), tf.constant(shape))
        assert start.numpy().tolist() == [0, 0, 0]
        assert back.shape == shape
        inside = np.moveaxis(back.numpy() - ramp, axis, 0)[3:-3]  # edges lack a neighbor
        assert abs(inside).max() < 0.1  # voxels
        assert abs(inside.mean()) < 0.005  # no shift


def test_a_mask_there_and_back_keeps_its_place_and_size():
    shape, grid = (12, 40, 44), (20, 31, 34)
    places = np.meshgrid(*(np.arange(length) for length in shape), indexing="ij")
    mask = sum(((p - c) / r) ** 2 for p, c, r in zip(places, (5, 18, 25), (4, 12, 11), strict=True)) <= 1
    there = whole(mask.astype(np.uint8), grid) >= 0.5
    values, start = resample.resample_back(there.astype(np.float32), tf.constant(grid), tf.zeros(3, tf.int32),
                                           tf.constant(shape))
    assert start.numpy().tolist() == [0, 0, 0]
    back = values.numpy() >= 0.5
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.97
    np.testing.assert_allclose(ndimage.center_of_mass(back), ndimage.center_of_mass(mask), atol=0.1)


def call(volume, grid, start, size):
    return resample.resample_box(volume, grid, start, size, -1024.0)


ARGUMENTS = (tf.constant((8, 5, 12)), tf.constant((-1, 1, 3)), tf.constant((7, 3, 12)))


def test_a_graph_of_unknown_shapes_gives_what_eager_gives():
    block = tf.TensorSpec((3,), tf.int32)
    graph = tf.function(call, input_signature=[tf.TensorSpec((None, None, None), tf.float32), block, block, block])
    for shape in (SHAPE, (1, 3, 30)):
        volume = noise(shape)
        np.testing.assert_allclose(graph(volume, *ARGUMENTS), call(volume, *ARGUMENTS), atol=1e-3)
    assert graph.experimental_get_tracing_count() == 1


def test_tf_data_gives_what_eager_gives():
    volumes = [noise(SHAPE), noise((6, 4, 9), seed=1)]
    dataset = tf.data.Dataset.from_generator(lambda: volumes, output_signature=tf.TensorSpec((None,) * 3, tf.float32))
    found = list(dataset.map(lambda volume: call(volume, *ARGUMENTS)))
    for volume, block in zip(volumes, found, strict=True):
        np.testing.assert_allclose(block, call(volume, *ARGUMENTS), atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float16, np.int16, np.uint8, np.float64, ">i2"])
def test_any_number_type_is_taken_as_it_is(dtype):
    volume = np.random.default_rng(3).integers(0, 200, SHAPE)
    stored = volume.astype(dtype).astype(np.dtype(dtype).newbyteorder("="))
    found = call(tf.constant(stored), *ARGUMENTS)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, call(volume.astype(np.float32), *ARGUMENTS), atol=1e-4)


def test_int16_at_its_limits_does_not_wrap():
    volume = np.full((2, 3, 4), 32767, np.int16)
    volume[0] = -32768
    found = whole(volume, (4, 3, 4), floor=-1024.0)
    np.testing.assert_allclose(found[:, 0, 0], [-1024, -1024 + 33791 / 4, 32767 - 33791 / 4, 32767], rtol=1e-6)


def test_a_step_of_a_third_is_not_lost_to_rounding_on_a_long_axis():
    weights = resample.axis_weights(3000, 1000).numpy()
    centres = weights @ np.arange(3000)
    np.testing.assert_allclose(centres[2:-2], np.arange(1000)[2:-2] * 3 + 1, atol=1e-3)
    assert math.isclose(weights[999].sum(), 1.0, abs_tol=1e-6)


def test_the_peer_leaves_an_axis_of_the_same_size_alone():
    volume = noise()
    np.testing.assert_allclose(resample_axis(volume, 1, 7), volume)
