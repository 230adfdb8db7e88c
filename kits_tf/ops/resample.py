"""Resamples volumes with one small matrix per axis.

An axis of n voxels of s mm becomes max(1, round(n s / t)) voxels of about t mm over the same extent, with half-pixel
centers and linear interpolation. If the axis shrinks, the triangle kernel is widened by the step, as in
`tf.image.resize` with antialias=True. As matrices, the steps of the method can be composed: "normalize the spacing, pad
to a square, resize to 128" is one 128-row matrix, and a crop of the normalized volume is a few rows of another, so the
whole normalized volume is never computed.

Values outside the volume are zero or a floor. For CT the floor is air: values are resampled relative to it, and lower
values are raised to it.
"""

from collections.abc import Sequence

import tensorflow as tf

CHUNK = 8  # output slices that are computed at a time


def grid_size(shape: tf.Tensor | Sequence[int], spacing_mm: tf.Tensor | Sequence[float],
              target_mm: Sequence[float]) -> tf.Tensor:
    """Computes how many voxels of `target_mm` cover the extent of a volume.

    Args:
        shape: int32 (3,), voxels (z, y, x).
        spacing_mm: float (3,), voxel size of the volume.
        target_mm: float (3,), target voxel size.

    Returns:
        int32 (3,), at least 1 along each axis.
    """
    # Integer arithmetic, because 241 slices of 1.5 mm are 120.5 slices of 3 mm: a graph optimizer that replaces the
    # float division by a multiplication could round this differently from eager execution.
    extent = tf.cast(shape, tf.int64) * _tenths_of_micrometers(spacing_mm)
    target = _tenths_of_micrometers(target_mm)
    whole, rest = extent // target, extent % target
    up = (2 * rest > target) | ((2 * rest == target) & (whole % 2 == 1))  # round half to even, as Python and NumPy do
    return tf.maximum(1, tf.cast(whole + tf.cast(up, tf.int64), tf.int32))


def _tenths_of_micrometers(spacing_mm):
    """Converts mm to integer units of 0.1 micrometers, so that float32 tensors and tuples give the same number."""
    return tf.cast(tf.round(tf.cast(spacing_mm, tf.float64) * 1e4), tf.int64)


def axis_weights(size_in: int | tf.Tensor, size_out: int | tf.Tensor, rows: tuple[tf.Tensor, tf.Tensor] | None = None,
                 columns: tuple[tf.Tensor, tf.Tensor] | None = None) -> tf.Tensor:
    """Computes the matrix that resamples one axis.

    Args:
        size_in: input voxels of the axis; int or scalar int32 tensor.
        size_out: output voxels of the axis.
        rows: (start, stop) of the output voxels to compute; None for all. Voxels outside the volume get zero rows.
        columns: (start, stop) of the available input voxels; None for all. Other input voxels count as zero.

    Returns:
        float32 (rows, columns). Before the restriction to `columns`, each row inside the volume sums to 1.
    """
    rows = (0, size_out) if rows is None else rows
    columns = (0, size_in) if columns is None else columns
    step = tf.cast(size_in, tf.float64) / tf.cast(size_out, tf.float64)
    support = tf.maximum(step, 1.0)
    voxel = tf.range(rows[0], rows[1])[:, tf.newaxis]
    centre = (tf.cast(voxel, tf.float64) + 0.5) * step - 0.5
    source = tf.cast(tf.range(size_in), tf.float64)
    weights = tf.nn.relu(1.0 - tf.abs(source - centre) / support)
    inside = (voxel >= 0) & (voxel < size_out)
    weights = tf.where(inside, tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=1, keepdims=True)), 0.0)
    weights = weights[:, columns[0]:columns[1]]
    return tf.cast(weights, tf.float32)


def source_range(size_in: int | tf.Tensor, size_out: int | tf.Tensor,
                 rows: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the range (start, stop) of input voxels that output voxels `rows` depend on.

    The range is clipped to the axis and never empty.
    """
    step = tf.cast(size_in, tf.float64) / tf.cast(size_out, tf.float64)
    support = tf.maximum(step, 1.0)
    first = (tf.cast(rows[0], tf.float64) + 0.5) * step - 0.5 - support
    last = (tf.cast(rows[1], tf.float64) - 0.5) * step - 0.5 + support
    start = tf.clip_by_value(tf.cast(tf.floor(first), tf.int32), 0, size_in - 1)
    stop = tf.clip_by_value(tf.cast(tf.math.ceil(last), tf.int32) + 1, start + 1, size_in)
    return start, stop


def pad_to_square(size_out: int | tf.Tensor, square: int | tf.Tensor) -> int | tf.Tensor:
    """Returns the voxels of padding before an axis that is centered in a square; after it there may be one more."""
    return (square - size_out) // 2


def apply_weights(source: tf.Tensor, weights: Sequence[tf.Tensor], floor: float | None = None,
                  above: float | None = None) -> tf.Tensor:
    """Resamples a volume with one matrix per axis, a few output slices at a time.

    Args:
        source: (z, y, x), any numeric type. Only the slices for CHUNK output slices are converted to float32 at once.
        weights: matrices (z', z), (y', y), (x', x) from axis_weights.
        floor: lowest value, in the source's units. It is subtracted before and added after resampling, so that it also
            replaces the zero outside the volume; lower voxels are raised to it. None changes nothing.
        above: threshold. If given, only whether a voxel is above it is kept, in a quarter of the memory. Cannot be
            combined with `floor`.

    Returns:
        float32 (z', y', x'), or bool if `above` is given.
    """
    weights_z, weights_y, weights_x = weights
    slices = tf.shape(weights_z)[0]
    rows, columns = tf.shape(weights_y)[0], tf.shape(weights_x)[0]
    used = tf.cast(weights_z > 0, tf.int32)
    depth = tf.shape(weights_z)[1]
    first = tf.where(tf.reduce_any(weights_z > 0, axis=1), tf.argmax(used, axis=1, output_type=tf.int32), depth)
    last = tf.where(tf.reduce_any(weights_z > 0, axis=1),
                    depth - tf.argmax(used[:, ::-1], axis=1, output_type=tf.int32), 0)

    def step(index, done):
        begin = index * CHUNK
        end = tf.minimum(begin + CHUNK, slices)
        low = tf.minimum(tf.reduce_min(first[begin:end]), depth - 1)
        high = tf.maximum(tf.reduce_max(last[begin:end]), low + 1)
        block = tf.cast(source[low:high], tf.float32)
        if floor is not None:
            block = tf.nn.relu(block - floor)
        planes = tf.tensordot(weights_z[begin:end, low:high], block, axes=1)
        planes = tf.matmul(tf.matmul(weights_y, planes), weights_x, transpose_b=True)
        if above is not None:
            planes = planes > above
        return index + 1, done.write(index, planes)

    steps = -(-slices // CHUNK)
    kept = tf.float32 if above is None else tf.bool
    done = tf.TensorArray(kept, size=steps, infer_shape=False, element_shape=(None, None, None))
    _, done = tf.while_loop(lambda index, _: index < steps, step, (0, done), parallel_iterations=1)
    result = tf.reshape(done.concat(), (slices, rows, columns))
    return result if floor is None else result + floor


def resample_box(source: tf.Tensor, grid: tf.Tensor, start: tf.Tensor, size: tf.Tensor,
                 floor: float | None = None) -> tf.Tensor:
    """Computes one block of the resampled volume, without resampling the rest.

    Args:
        source: the volume (z, y, x), any numeric type.
        grid: int32 (3,), voxels of the resampled volume (grid_size).
        start: int32 (3,), the block's first voxel on that grid; the block may extend outside the volume.
        size: int32 (3,), the block's voxels.
        floor: value of voxels outside the volume and lower bound of all voxels, in the source's units; None for zero
            outside and no lower bound.

    Returns:
        float32 (z, y, x) of shape `size`, in the source's units.
    """
    shape = tf.shape(source)
    weights, begins, ends = [], [], []
    for axis in range(3):
        rows = (start[axis], start[axis] + size[axis])
        columns = source_range(shape[axis], grid[axis], rows)
        weights.append(axis_weights(shape[axis], grid[axis], rows, columns))
        begins.append(columns[0])
        ends.append(columns[1])
    block = source[begins[0]:ends[0], begins[1]:ends[1], begins[2]:ends[2]]
    return apply_weights(block, weights, floor)


def square_weights(shape: tf.Tensor, grid: tf.Tensor, size: int) -> tuple[tf.Tensor, ...]:
    """Computes the (y, x) matrices of the coarse stage: normalize the spacing, pad to a square, resize to `size`.

    Args:
        shape: int32 (3,), voxels of the source.
        grid: int32 (3,), voxels of the normalized volume.
        size: pixels of the coarse grid, in y and x.

    Returns:
        (weights_y, weights_x): float32 (size, y) and (size, x). Padding counts as zero.
    """
    square = tf.maximum(grid[1], grid[2])
    return tuple(
        tf.matmul(
            axis_weights(square, size, columns=(pad_to_square(grid[axis], square),
                                                pad_to_square(grid[axis], square) + grid[axis])),
            axis_weights(shape[axis], grid[axis]))
        for axis in (1, 2))


def resample_square(source: tf.Tensor, grid: tf.Tensor, size: int, floor: float | None = None,
                    box: tuple[Sequence[int], Sequence[int]] | None = None) -> tf.Tensor:
    """Resamples a volume to the coarse grid: normalized slices, padded to a square and resized to `size` x `size`.

    Args:
        source: the volume (z, y, x), any numeric type.
        grid: int32 (3,), voxels of the normalized volume (grid_size).
        size: pixels of the coarse grid, in y and x.
        floor: as in resample_box.
        box: (start, stop), three ints each: a box outside which all source voxels are zero and are not read; None reads
            all.

    Returns:
        float32 (grid z, size, size), in the source's units; padding holds `floor`, or zero.
    """
    shape = tf.shape(source)
    weights = [axis_weights(shape[0], grid[0]), *square_weights(shape, grid, size)]
    if box is not None:
        source = source[tuple(slice(*ends) for ends in zip(*box, strict=True))]
        weights = [matrix[:, first:last] for matrix, first, last in zip(weights, *box, strict=True)]
    return apply_weights(source, weights, floor)


def resample_back(block: tf.Tensor, grid: tf.Tensor, start: tf.Tensor, shape: tf.Tensor,
                  above: float | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """Resamples a block of the normalized volume to the input's grid. Voxels outside the block count as zero.

    Args:
        block: float32 (z, y, x), for example probabilities.
        grid: int32 (3,), voxels of the whole normalized volume.
        start: int32 (3,), the block's first voxel in that volume; the block must lie inside it.
        shape: int32 (3,), voxels of the input.
        above: threshold; returns only whether a voxel is above it. None returns the values.

    Returns:
        (values, start): a block of the input's grid, float32 or bool, that contains all nonzero voxels; and its first
        voxel.
    """
    size = tf.shape(block)
    weights, begins = [], []
    for axis in range(3):
        columns = (start[axis], start[axis] + size[axis])
        rows = source_range(shape[axis], grid[axis], columns)
        weights.append(axis_weights(grid[axis], shape[axis], rows, columns))
        begins.append(rows[0])
    return apply_weights(block, weights, above=above), tf.stack(begins)
