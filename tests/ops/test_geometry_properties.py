"""Tests geometry against its inverse on volumes of 1 to 40 voxels per side and odd spacings, from hypothesis."""

import numpy as np
import tensorflow as tf
from harness.geometries import CODES, affine_of, tilted
from harness.triangles import block_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kits_tf.ops import crop, resample
from kits_tf.scans.orientation import invert, reorient, reorient_affine, to_canonical_transform
from kits_tf.volume import CANONICAL_CODES, spacing_of

SIDES = st.tuples(*[st.integers(1, 40)] * 3)
SPACINGS = st.tuples(*[st.floats(0.05, 19.7).map(lambda mm: round(mm, 4))] * 3)
STARTS = st.tuples(*[st.integers(-45, 45)] * 3)
fixed = settings(deadline=None, max_examples=40, derandomize=True)

CROP = tf.TensorSpec((3,), tf.int32)
VOLUME = tf.TensorSpec((None, None, None), tf.float32)


@tf.function(input_signature=[VOLUME, CROP, VOLUME])
def paste(array, start, block):
    return crop.paste_add(array, block, start)


@tf.function(input_signature=[VOLUME, CROP])
def there(volume, grid):
    return resample.resample_box(volume, grid, tf.zeros(3, tf.int32), grid)


@tf.function(input_signature=[VOLUME, CROP, CROP])
def back(block, grid, shape):
    return resample.resample_back(block, grid, tf.zeros(3, tf.int32), shape)


def noise(shape, seed):
    return np.random.default_rng(seed).uniform(-1000, 1000, shape).astype(np.float32)


@fixed
@given(SIDES, SPACINGS, st.sampled_from(CODES), st.tuples(*[st.integers(-25, 25)] * 3), st.integers(0, 99))
def test_reorienting_and_back_changes_nothing_wherever_the_axes_point(shape, steps_mm, codes, degrees, seed):
    array, affine = noise(shape, seed), affine_of(codes, steps_mm, tilted(degrees))
    transform = to_canonical_transform(affine)
    turned, canonical = reorient(array, transform), reorient_affine(affine, transform, shape)
    assert np.array_equal(reorient(turned, invert(transform)), array)
    np.testing.assert_allclose(reorient_affine(canonical, invert(transform), turned.shape), affine, atol=1e-9)
    assert to_canonical_transform(canonical).tolist() == [[0, 1], [1, 1], [2, 1]]
    assert len(CANONICAL_CODES) == turned.ndim
    # Every voxel keeps its position in the patient and its size.
    index = np.array([size // 2 for size in shape])
    moved = np.argwhere(reorient(np.arange(array.size).reshape(shape), transform)
                        == np.ravel_multi_index(index, shape))[0]
    np.testing.assert_allclose(affine @ [*index, 1], canonical @ [*moved, 1], atol=1e-6)
    assert sorted(spacing_of(canonical)) == sorted(spacing_of(affine))


@fixed
@given(SIDES, SIDES, STARTS, st.integers(0, 99))
def test_a_crop_pasted_back_is_what_it_covered_and_nothing_else(shape, size, start, seed):
    array = noise(shape, seed)
    block = crop.crop(tf.constant(array), tf.constant(start), size, fill=7.0).numpy()
    assert np.array_equal(block, block_of(array, start, size, 7.0))
    pasted = paste(tf.zeros(shape), tf.constant(start), block).numpy()
    covered = np.zeros(shape, bool)
    covered[tuple(slice(max(0, at), max(0, at + length)) for at, length in zip(start, size, strict=True))] = True
    assert np.array_equal(pasted, np.where(covered, array, 0))


@fixed
@given(SIDES, SPACINGS, SPACINGS, st.floats(-1000, 3000, width=16))
def test_a_flat_volume_stays_flat_through_any_resampling(shape, spacing_mm, target_mm, level):
    grid = resample.grid_size(shape, spacing_mm, target_mm)
    grid = tf.minimum(grid, 60)
    resampled = there(tf.fill(shape, level), grid)
    np.testing.assert_allclose(resampled, level, rtol=1e-5, atol=1e-3)
    assert resampled.shape == tuple(grid.numpy())
    returned, start = back(resampled, grid, tf.constant(shape))
    assert start.numpy().tolist() == [0, 0, 0]
    np.testing.assert_allclose(returned, np.full(shape, level), rtol=1e-5, atol=1e-3)


@fixed
@given(SIDES, SIDES, st.integers(0, 99))
def test_resampling_invents_no_value_beyond_its_volume_s(shape, grid, seed):
    volume = noise(shape, seed)
    resampled = there(volume, tf.constant(grid)).numpy()
    assert volume.min() - 1e-2 <= resampled.min() <= resampled.max() <= volume.max() + 1e-2
    if grid == shape:
        assert np.array_equal(resampled, volume)


@fixed
@given(SIDES, st.tuples(*[st.integers(1, 3)] * 3), st.tuples(*[st.integers(-3, 3)] * 3))
def test_a_ramp_comes_back_from_a_finer_grid(shape, factor, slopes):
    """Linear interpolation reproduces a ramp exactly, except at its ends, where a neighbor is missing."""
    places = np.meshgrid(*(np.arange(length) for length in shape), indexing="ij")
    ramp = sum(slope * place for slope, place in zip(slopes, places, strict=True)).astype(np.float32)
    grid = tf.constant([size * times for size, times in zip(shape, factor, strict=True)])
    returned, _ = back(there(ramp, grid), grid, tf.constant(shape))
    inner = tuple(slice(2, -2) if size > 4 else slice(0, 0) for size in shape)
    np.testing.assert_allclose(returned.numpy()[inner], ramp[inner], atol=2e-2)


@fixed
@given(SIDES, SPACINGS, SPACINGS)
def test_a_grid_covers_the_extent_to_half_a_voxel_and_its_inverse_gives_the_shape_back(shape, spacing_mm, target_mm):
    grid = resample.grid_size(shape, spacing_mm, target_mm).numpy()
    for size, mm, target, found in zip(shape, spacing_mm, target_mm, grid, strict=True):
        assert found >= 1
        assert found == 1 or abs(size * mm - found * target) <= target * 0.5001
    finer = resample.grid_size(shape, spacing_mm, [mm / 4 for mm in spacing_mm])
    assert resample.grid_size(finer, [mm / 4 for mm in spacing_mm], spacing_mm).numpy().tolist() == list(shape)
