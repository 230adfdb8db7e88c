"""Varies training examples: one random map in the plane for image and masks alike, then the image's intensities.

Everything is batched, float32 (batch, first, second, channels) with the stage's two in-plane axes, and random by a
stateless seed only. Image and masks are channels of one tensor while they are warped, so they cannot come apart; masks
are warped linearly and cut at 0.5, which keeps their area.
"""

import math

import tensorflow as tf

from kits_tf import addons

CONTROL_POINTS = 5  # of the elastic grid, along either axis


def split(seed, number):
    """Independent seeds from one, a list."""
    return tf.unstack(tf.random.experimental.stateless_split(seed, number))


def _uniform(seed, batch, low, high):
    return tf.random.stateless_uniform([batch], seed, low, high)


def _either(seed, batch, bound):
    return _uniform(seed, batch, -bound, bound)


def _mirror(seed, batch, wanted):
    """Minus one for a random half of the batch, if wanted."""
    return tf.where(_uniform(seed, batch, 0.0, 1.0) < (0.5 if wanted else 0.0), -1.0, 1.0)


def _matrix(a, b, c, d):
    return tf.stack([tf.stack([a, b], axis=1), tf.stack([c, d], axis=1)], axis=1)


def random_matrices(config, seed, batch, shape, jitter, axes, spacing_mm):
    """Draws affine maps from output to input voxels, for addons.warp_affine.

    The centre of the output reads a voxel within the jitter of the centre of the input; mirroring, rotation, shear and
    zoom are about that voxel, and are done in mm: turning a sagittal plane of thick slices in voxels would shear it.

    Args:
        config: AugmentConfig. flip_x and flip_y apply where the plane has such an axis: a sagittal plane has no x.
        seed: int32 (2,).
        batch: how many.
        shape: voxels of the input, in the plane.
        jitter: largest shift along either axis, in whole voxels.
        axes: names of the plane's axes, as "yx" or "zy".
        spacing_mm: voxel size along them.

    Returns:
        float32 (batch, 2, 3).
    """
    seeds = split(seed, 7)
    angle = _either(seeds[0], batch, config.rotate_degrees * math.pi / 180.0)
    zoom = 1.0 / _uniform(seeds[1], batch, 1.0 - config.scale, 1.0 + config.scale)
    shear = _either(seeds[2], batch, config.shear)
    nought = tf.zeros(batch)
    mirror = [_mirror(seeds[3 + index], batch, {"x": config.flip_x, "y": config.flip_y}.get(axis, False))
              for index, axis in enumerate(axes)]
    linear = _matrix(tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle))
    linear = linear @ _matrix(zoom, shear * zoom, nought, zoom) @ _matrix(mirror[0], nought, nought, mirror[1])
    first_mm, second_mm = spacing_mm
    linear *= [[1.0, second_mm / first_mm], [first_mm / second_mm, 1.0]]
    centre = (tf.constant(shape, tf.float32) - 1.0) / 2.0
    shift = tf.stack([tf.round(_uniform(seeds[5 + index], batch, -room - 0.499, room + 0.499))
                      for index, room in enumerate(jitter)], axis=1)
    offset = centre + shift - tf.linalg.matvec(linear, tf.broadcast_to(centre, (batch, 2)))
    return tf.concat([linear, offset[:, :, None]], axis=2)


def _elastic(config, seed, batch, shape, spacing_mm):
    """Smooth random displacements (batch, first, second, 2), as long in mm along either axis."""
    grid = tf.random.stateless_normal((batch, CONTROL_POINTS, CONTROL_POINTS, 2), seed, stddev=config.elastic_voxels)
    smallest = min(spacing_mm)
    return tf.image.resize(grid, shape, method="bicubic") * [smallest / mm for mm in spacing_mm]


def warp(planes, config, seed, jitter, axes, spacing_mm):
    """Moves every channel of an example alike, at random; outside the record is 0.

    Args:
        planes: float32 (batch, first, second, channels), the whole record, of a static shape.
        config, jitter, axes, spacing_mm: as in random_matrices.
        seed: int32 (2,).

    Returns:
        float32 of the same shape; its centre crop of the record less the jitter on every side is the example.
    """
    batch, *shape, _ = planes.shape
    seeds = split(seed, 2)
    matrices = random_matrices(config, seeds[0], batch, shape, jitter, axes, spacing_mm)
    if not config.elastic_voxels:
        return addons.warp_affine(planes, matrices)
    # One interpolation, not two: the affine map joins the displacement.
    here = tf.stack(tf.meshgrid(*(tf.range(size, dtype=tf.float32) for size in shape), indexing="ij"), axis=-1)
    there = tf.einsum("bij,yxj->byxi", matrices[:, :, :2], here) + matrices[:, None, None, :, 2]
    return addons.warp_dense(planes, there - here + _elastic(config, seeds[1], batch, shape, spacing_mm))


def vary_intensity(images, config, seed):
    """Varies windowed images at random, one draw per example; the result is cut to 0..1, where the nets live.

    Args:
        images: float32 (batch, ...), 0..1.
        config: AugmentConfig; brightness, contrast, gamma and noise are read.
        seed: int32 (2,).
    """
    batch, rank = images.shape[0], len(images.shape)
    seeds = split(seed, 5)

    def spread(values):
        return tf.reshape(values, [batch] + [1] * (rank - 1))

    if config.gamma:
        images = images ** spread(tf.exp(_either(seeds[0], batch, config.gamma)))
    if config.contrast:
        mean = tf.reduce_mean(images, axis=list(range(1, rank)), keepdims=True)
        images = mean + (images - mean) * spread(_uniform(seeds[1], batch, 1 - config.contrast, 1 + config.contrast))
    if config.brightness:
        images = images + spread(_either(seeds[2], batch, config.brightness))
    if config.noise:
        deviation = spread(_uniform(seeds[3], batch, 0.0, config.noise))
        images = images + deviation * tf.random.stateless_normal(images.shape, seeds[4])
    return tf.clip_by_value(images, 0.0, 1.0)


def roughen(masks, seed, reach, holes=0.15):
    """Makes ground-truth kidney masks look like what a net would have found.

    Per example at random: grown or shrunk by up to `reach` voxels, shifted by as much, and bitten: patches of a smooth
    random field are missing inside, or stuck on near the outline.

    Args:
        masks: float32 (batch, y, x, 1), 0 or 1.
        seed: int32 (2,).
        reach: in voxels.
        holes: largest share of the field that is cut out or stuck on.

    Returns:
        float32 of the same shape, 0 or 1.
    """
    batch, height, width, _ = masks.shape
    seeds = split(seed, 5)

    def grown(tensor, by):
        return tf.nn.max_pool2d(tensor, 2 * by + 1, strides=1, padding="SAME") if by else tensor

    def shrunk(tensor, by):
        return 1.0 - grown(1.0 - tensor, by)

    sizes = tf.stack([shrunk(masks, by) for by in range(reach, 0, -1)] + [grown(masks, by) for by in range(reach + 1)])
    chosen = tf.random.stateless_uniform([batch], seeds[0], 0, 2 * reach + 1, tf.int32)
    rough = tf.gather(tf.transpose(sizes, (1, 0, 2, 3, 4)), chosen, axis=1, batch_dims=1)

    field = tf.random.stateless_uniform((batch, -(-height // 12), -(-width // 12), 1), seeds[1])
    field = tf.image.resize(field, (height, width), method="bicubic")
    share = tf.reshape(_uniform(seeds[2], batch, 0.0, holes), (batch, 1, 1, 1))
    near = grown(rough, 2 * reach)
    rough = tf.where(field < share, 0.0, tf.where(field > 1.0 - share, near, rough))

    shift = tf.round(tf.random.stateless_uniform([batch, 2, 1], seeds[3], -reach - 0.499, reach + 0.499))
    moves = tf.concat([tf.eye(2, batch_shape=[batch]), shift], axis=2)
    return addons.warp_affine(rough, moves, interpolation="nearest")
