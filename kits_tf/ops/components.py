"""Connected components (26 neighbours) as TensorFlow operations, for use inside the exported graph.

Every voxel starts with its own number; each round it takes the largest number among its neighbours, then twice the
number that stands at the voxel its number names (pointer jumping, as in Shiloach and Vishkin 1982). That converges in
about a dozen rounds where plain propagation takes as many as a component is long.
"""

import tensorflow as tf

from kits_tf.ops import crop


def label_components(mask):
    """Numbers the connected components of a mask.

    Args:
        mask: bool (z, y, x), fewer than 2**31 voxels.

    Returns:
        (components, count): int32 (z, y, x), 0 outside the mask and 1 to count inside, ordered by the position of each
        component's last voxel; and how many there are.
    """
    start, stop = crop.box_of(mask)
    size = stop - start
    inner = tf.slice(mask, start, size)
    numbers = _propagate(inner)
    flat = tf.reshape(numbers, [-1])
    is_root = tf.equal(flat, tf.range(1, tf.size(flat) + 1))
    rank = tf.cumsum(tf.cast(is_root, tf.int32))
    # One zero in front, so that number 0 (outside) finds 0, also when the mask is empty.
    consecutive = tf.gather(tf.concat([[0], rank], axis=0), numbers)
    components = tf.pad(consecutive, tf.stack([start, tf.shape(mask) - stop], axis=1))
    return tf.ensure_shape(components, mask.shape), tf.reduce_sum(tf.cast(is_root, tf.int32))


def _propagate(mask):
    """Every voxel of a component gets the largest flat index + 1 in it."""
    own = tf.reshape(tf.range(1, tf.size(mask) + 1), tf.shape(mask))
    outside = tf.zeros_like(own)
    seeds = tf.where(mask, own, outside)

    def follow(numbers):
        table = tf.concat([[0], tf.reshape(numbers, [-1])], axis=0)
        return tf.gather(table, numbers)

    def grow(numbers, _):
        grown = numbers
        for axis in range(3):
            grown = tf.maximum(grown, tf.maximum(crop.shift(grown, axis, 1), crop.shift(grown, axis, -1)))
        grown = follow(follow(tf.where(mask, grown, outside)))
        return grown, tf.reduce_any(tf.not_equal(grown, numbers))

    numbers, _ = tf.while_loop(lambda _, changed: changed, grow, (seeds, tf.size(mask) > 0), parallel_iterations=1)
    return numbers


def component_sizes(components, count, voxel_weight=1.0):
    """How large each component is.

    Args:
        components, count: as label_components returns them.
        voxel_weight: what one voxel counts for, for example the normalized voxels it covers.

    Returns:
        float64 (count,), in the order of the numbers 1 to count.
    """
    voxels = tf.math.bincount(tf.reshape(components, [-1]), minlength=count + 1, maxlength=count + 1)
    return tf.cast(voxels[1:], tf.float64) * tf.cast(voxel_weight, tf.float64)


def touching(components, count, mask):
    """Which components share or neighbour (26) a voxel of a mask: bool (count,)."""
    hit = tf.where(crop.dilate(mask, (1, 1, 1)), components, 0)
    hits = tf.math.bincount(tf.reshape(hit, [-1]), minlength=count + 1, maxlength=count + 1)
    return hits[1:] > 0


def select(components, chosen):
    """The voxels of some components.

    Args:
        components: int32 (z, y, x), as label_components returns them.
        chosen: bool (count,).

    Returns:
        bool (z, y, x).
    """
    return tf.gather(tf.concat([[False], chosen], axis=0), components)
