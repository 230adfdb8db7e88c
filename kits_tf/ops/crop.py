"""Crops and pastes blocks of voxels, and places several blocks of one size to cover a larger box.

A block may extend outside the array: a crop then reads a fill value there, and a paste writes nothing.
"""

import tensorflow as tf


def crop(array: tf.Tensor, start: tf.Tensor, size: tuple[int, ...], fill: float = 0.0) -> tf.Tensor:
    """Crops a block of fixed size.

    Args:
        array: tensor of any rank.
        start: int32 (rank,), the block's first voxel; may be negative.
        size: tuple of ints, the block's shape, known when the graph is built.
        fill: value of voxels outside the array.

    Returns:
        Tensor of shape `size`.
    """
    shape = tf.shape(array)
    begin = tf.clip_by_value(start, 0, shape)
    end = tf.clip_by_value(start + size, begin, shape)
    inside = tf.slice(array, begin, end - begin)
    before = tf.clip_by_value(begin - start, 0, size)
    after = size - before - (end - begin)
    block = tf.pad(inside, tf.stack([before, after], axis=1), constant_values=tf.cast(fill, array.dtype))
    return tf.ensure_shape(block, size)


def _overlap(array, block, start):
    """Returns the part of a block inside the array: its begin and end in the array, and its values."""
    begin = tf.clip_by_value(start, 0, tf.shape(array))
    end = tf.clip_by_value(start + tf.shape(block), begin, tf.shape(array))
    first = tf.clip_by_value(begin - start, 0, tf.shape(block))  # a block far outside the array gives an empty slice
    return begin, end, tf.slice(block, first, end - begin)


def _update(array, begin, end, values):
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=array, begin=begin, end=end, strides=tf.ones_like(begin), value=values)


def paste_add(array: tf.Tensor, block: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Adds a block to an array at `start`; parts outside the array are ignored. Inverts `crop` on an array of zeros."""
    begin, end, values = _overlap(array, block, start)
    return _update(array, begin, end, tf.slice(array, begin, end - begin) + values)


def paste_max(array: tf.Tensor, block: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Returns the voxelwise maximum of an array and a block at `start`; parts outside the array are ignored."""
    begin, end, values = _overlap(array, block, start)
    return _update(array, begin, end, tf.maximum(tf.slice(array, begin, end - begin), values))


def cover_axis(start: tf.Tensor, stop: tf.Tensor, centre: tf.Tensor, size: int, overlap: int) -> tf.Tensor:
    """Computes the positions of crops of one size along one axis so that they cover start to stop.

    If the extent fits into one crop, the crop is centered at `centre` and shifted by as little as needed to contain the
    extent. Otherwise several crops are spaced evenly from end to end and overlap by at least `overlap`.

    Args:
        start, stop: scalar int32, the extent to cover; stop exclusive.
        centre: scalar float32, preferred center of a single crop, in voxels (the middle of voxel 0 is 0).
        size, overlap: ints, voxels; 0 <= overlap < size.

    Returns:
        int32 (n,), the first voxel of each crop, ascending.
    """
    extent = stop - start

    def one():
        wanted = tf.cast(tf.floor(centre + 0.5), tf.int32) - size // 2
        return tf.clip_by_value(wanted, stop - size, start)[tf.newaxis]

    def several():
        count = 1 + -(-(extent - size) // (size - overlap))
        return start + tf.range(count) * (extent - size) // tf.maximum(count - 1, 1)

    return tf.cond(extent <= size, one, several)


def grid_of(*axes: tf.Tensor) -> tf.Tensor:
    """Returns all combinations of positions along the given axes: int32 (n, axes)."""
    return tf.reshape(tf.stack(tf.meshgrid(*axes, indexing="ij"), axis=-1), (-1, len(axes)))


def box_of(mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the smallest box around the true voxels of a mask.

    Args:
        mask: bool, any rank.

    Returns:
        (start, stop): int32 (rank,), stop exclusive; both zero if the mask is empty.
    """
    starts, stops = [], []
    for axis in range(mask.shape.rank):
        others = [other for other in range(mask.shape.rank) if other != axis]
        hit = tf.cast(tf.reduce_any(mask, axis=others), tf.int32)
        some = tf.reduce_max(hit)
        starts.append(tf.argmax(hit, output_type=tf.int32) * some)
        stops.append((tf.size(hit) - tf.argmax(hit[::-1], output_type=tf.int32)) * some)
    return tf.stack(starts), tf.stack(stops)


def dilate(mask: tf.Tensor, radius: tuple[int, int, int]) -> tf.Tensor:
    """Dilates a mask with a box: true within `radius` voxels of a true voxel along every axis.

    Args:
        mask: bool (z, y, x).
        radius: three ints, voxels along z, y, x; zero or more.

    Returns:
        bool (z, y, x).
    """
    grown = tf.cast(mask, tf.int8)
    for axis, reach in enumerate(radius):
        grown = _spread(grown, axis, reach)
    return grown > 0


def _spread(values, axis, reach):
    """Computes the running maximum over 2 reach + 1 voxels along one axis, in about log2(reach) steps."""
    covered = 0
    while covered < reach:
        jump = min(max(covered, 1), reach - covered)
        values = tf.maximum(values, tf.maximum(shift(values, axis, jump), shift(values, axis, -jump)))
        covered += jump
    return values


def shift(values: tf.Tensor, axis: int, by: int) -> tf.Tensor:
    """Shifts an array by `by` voxels along one axis, filling with zeros; positive values shift to higher indices."""
    paddings, begin = [[0, 0] for _ in values.shape], [0] * values.shape.rank
    paddings[axis][by < 0], begin[axis] = abs(by), max(-by, 0)
    return tf.slice(tf.pad(values, paddings), begin, tf.shape(values))
