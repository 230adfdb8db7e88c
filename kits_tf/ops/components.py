"""Connected components (26 neighbors) as TensorFlow operations, for use inside the exported graph.

Every voxel starts as its own component. In each round, every component with a neighbor of a larger number joins the
neighbor with the largest number (hooking), then chains of joins are followed to their end (pointer jumping). Each round
at least halves the number of unfinished components, so a few rounds suffice. After Shiloach and Vishkin 1982, "An
O(log n) parallel connectivity algorithm".
"""

import tensorflow as tf

from kits_tf.ops import crop


def label_components(mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Numbers the connected components of a mask.

    Args:
        mask: bool (z, y, x), fewer than 2**31 voxels.

    Returns:
        (components, count): int32 (z, y, x), 0 outside the mask and 1 to `count` inside, ordered by the position of
        each component's last voxel; int32 scalar, the number of components, 0 for an empty mask.
    """
    start, stop = crop.box_of(mask)
    size = stop - start
    inner = tf.slice(mask, start, size)
    numbers = _propagate(inner)
    flat = tf.reshape(numbers, [-1])
    is_root = tf.equal(flat, tf.range(1, tf.size(flat) + 1))
    rank = tf.cumsum(tf.cast(is_root, tf.int32))
    # A zero is prepended, so that number 0 (outside) maps to 0, also if the mask is empty.
    consecutive = tf.gather(tf.concat([[0], rank], axis=0), numbers)
    components = tf.pad(consecutive, tf.stack([start, tf.shape(mask) - stop], axis=1))
    return tf.ensure_shape(components, mask.shape), tf.reduce_sum(tf.cast(is_root, tf.int32))


def _propagate(mask):
    """Assigns to every voxel of a component the largest flat index + 1 within it; 0 outside the mask."""
    total = tf.size(mask)
    alone = tf.where(mask, tf.reshape(tf.range(1, total + 1), tf.shape(mask)), 0)

    # The first round needs no list of differing neighbors: every voxel joins its largest neighbor.
    joined = tf.where(mask, _largest_neighbor(alone), 0)
    numbers = _follow(tf.concat([[0], tf.reshape(joined, [-1])], axis=0))[1:]

    def merge(numbers, _):
        largest = _largest_neighbor(numbers)
        border = mask & tf.not_equal(largest, numbers)
        smaller, larger = tf.boolean_mask(numbers, border), tf.boolean_mask(largest, border)
        parents = tf.tensor_scatter_nd_max(tf.range(total + 1), smaller[:, tf.newaxis], larger)
        return tf.gather(_follow(parents), numbers), tf.size(smaller) > 0

    numbers, _ = tf.while_loop(lambda _, changed: changed, merge, (tf.reshape(numbers, tf.shape(mask)), total > 0),
                               parallel_iterations=1)
    return numbers


def _largest_neighbor(numbers):
    """Returns the largest number among each voxel and its 26 neighbors."""
    for axis in range(3):
        numbers = tf.maximum(numbers, tf.maximum(crop.shift(numbers, axis, 1), crop.shift(numbers, axis, -1)))
    return numbers


def _follow(parents):
    """Replaces every number by the end of the chain that starts at it (pointer jumping)."""
    ends, _ = tf.while_loop(lambda ends, last: tf.reduce_any(tf.not_equal(ends, last)),
                            lambda ends, _: (tf.gather(ends, ends), ends),
                            (tf.gather(parents, parents), parents), parallel_iterations=1)
    return ends


def component_sizes(components: tf.Tensor, count: tf.Tensor, voxel_weight: float | tf.Tensor = 1.0) -> tf.Tensor:
    """Computes the size of each component.

    Args:
        components, count: as returned by label_components.
        voxel_weight: weight of one voxel, for example the number of normalized voxels it covers.

    Returns:
        float64 (count,), number of voxels times `voxel_weight`, for components 1 to `count`.
    """
    voxels = tf.math.bincount(tf.reshape(components, [-1]), minlength=count + 1, maxlength=count + 1)
    return tf.cast(voxels[1:], tf.float64) * tf.cast(voxel_weight, tf.float64)


def touching(components: tf.Tensor, count: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Returns which components overlap a mask or are adjacent to it (26 neighbors): bool (count,)."""
    hit = tf.where(crop.dilate(mask, (1, 1, 1)), components, 0)
    hits = tf.math.bincount(tf.reshape(hit, [-1]), minlength=count + 1, maxlength=count + 1)
    return hits[1:] > 0


def select(components: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Returns the mask of selected components.

    Args:
        components: int32 (z, y, x), as returned by label_components.
        chosen: bool (count,), whether components 1 to `count` are selected.

    Returns:
        bool (z, y, x).
    """
    return tf.gather(tf.concat([[False], chosen], axis=0), components)


def connected_to(mask: tf.Tensor, other: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Finds the components of a mask that overlap another mask or are adjacent to it (26 neighbors).

    Args:
        mask, other: bool (z, y, x).

    Returns:
        (connected, kept, dropped): bool (z, y, x), the voxels of these components; int32, their number; int32, the
        number of the other components.
    """
    numbered, count = label_components(mask)
    touches = touching(numbered, count, other)
    kept = tf.math.count_nonzero(touches, dtype=tf.int32)
    return select(numbered, touches), kept, count - kept
