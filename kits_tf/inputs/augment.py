"""Augments training examples: one random in-plane warp for image and masks, then random intensity changes.

All functions work on batches, float32 (batch, first, second, channels) with the stage's two in-plane axes, and use
stateless seeds only. Image and masks are warped as channels of one tensor, so they stay aligned. Masks are interpolated
linearly and then thresholded at 0.5 (in pipeline.py), which preserves their area.
"""

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from kits_tf import addons
from kits_tf.config import AugmentConfig

CONTROL_POINTS = 5  # of the elastic grid, along each axis
HOLES = 0.15  # largest share of the values of a random field that remove a part of a roughened mask


def split(seed: tf.Tensor, number: int) -> list[tf.Tensor]:
    """Returns a list of independent seeds derived from one seed."""
    return tf.unstack(tf.random.experimental.stateless_split(seed, number))


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a batch that this worker produces.

    Several workers share a batch. Each draws random numbers for the whole batch and uses its own rows, so the batch
    does not depend on the number of workers.

    Attributes:
        count: number of rows of this worker.
        first: index of its first row in the whole batch.
        total: rows of the whole batch; None if it equals `count`.
    """

    count: int
    first: int = 0
    total: int | None = None

    def __getitem__(self, drawn: tf.Tensor) -> tf.Tensor:
        """Returns this worker's rows of values that were drawn for the whole batch."""
        return drawn[self.first:self.first + self.count]

    @property
    def batch(self) -> int:
        """Number of examples in the whole batch."""
        return self.total or self.count


@dataclasses.dataclass(frozen=True)
class Plane:
    """The plane in which a stage's examples are warped.

    Attributes:
        axes: names of its axes, "yx" or "zy".
        spacing_mm: voxel size along these axes.
        jitter: largest shift along each axis, in whole voxels.
    """

    axes: str
    spacing_mm: Sequence[float]
    jitter: Sequence[int] = (0, 0)


def _uniform(seed, rows, low, high):
    return rows[tf.random.stateless_uniform([rows.batch], seed, low, high)]


def _either(seed, rows, bound):
    return _uniform(seed, rows, -bound, bound)


def _mirror(seed, rows, wanted):
    """Returns one factor per example: -1 with probability one half if `wanted`, else 1."""
    return tf.where(_uniform(seed, rows, 0.0, 1.0) < (0.5 if wanted else 0.0), -1.0, 1.0)


def _matrix(a, b, c, d):
    return tf.stack([tf.stack([a, b], axis=1), tf.stack([c, d], axis=1)], axis=1)


def random_matrices(config: AugmentConfig, seed: tf.Tensor, rows: Rows, shape: Sequence[int],
                    plane: Plane) -> tf.Tensor:
    """Draws affine maps from output to input voxels, for addons.warp_affine.

    The center of the output maps to the center of the input, shifted by up to the jitter. Mirroring, rotation, shear
    and zoom are applied about that point, in mm: rotating a sagittal plane of thick slices in voxels would shear it.

    Args:
        config: AugmentConfig. flip_x and flip_y apply only if the plane has that axis; a sagittal plane has no x.
        seed: int32 (2,).
        rows: Rows to draw maps for.
        shape: in-plane voxels of the input.

    Returns:
        float32 (batch, 2, 3).
    """
    seeds = split(seed, 7)
    angle = _either(seeds[0], rows, config.rotate_degrees * math.pi / 180.0)
    zoom = 1.0 / _uniform(seeds[1], rows, 1.0 - config.scale, 1.0 + config.scale)
    shear = _either(seeds[2], rows, config.shear)
    nought = tf.zeros(rows.count)
    mirror = [_mirror(seeds[3 + index], rows, {"x": config.flip_x, "y": config.flip_y}.get(axis, False))
              for index, axis in enumerate(plane.axes)]
    linear = _matrix(tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle))
    linear = linear @ _matrix(zoom, shear * zoom, nought, zoom) @ _matrix(mirror[0], nought, nought, mirror[1])
    first_mm, second_mm = plane.spacing_mm
    linear *= [[1.0, second_mm / first_mm], [first_mm / second_mm, 1.0]]
    centre = (tf.constant(shape, tf.float32) - 1.0) / 2.0
    shift = tf.stack([tf.round(_uniform(seeds[5 + index], rows, -room - 0.499, room + 0.499))
                      for index, room in enumerate(plane.jitter)], axis=1)
    offset = centre + shift - tf.linalg.matvec(linear, tf.broadcast_to(centre, (rows.count, 2)))
    return tf.concat([linear, offset[:, :, None]], axis=2)


def _elastic(config, seed, rows, shape, spacing_mm):
    """Draws smooth random displacements (batch, first, second, 2), in voxels, of equal size in mm along both axes."""
    grid = tf.random.stateless_normal((rows.batch, CONTROL_POINTS, CONTROL_POINTS, 2), seed,
                                      stddev=config.elastic_voxels)
    smallest = min(spacing_mm)
    return tf.image.resize(rows[grid], shape, method="bicubic") * [smallest / mm for mm in spacing_mm]


def warp(planes: tf.Tensor, config: AugmentConfig, seed: tf.Tensor, plane: Plane,
         rows: Rows | None = None) -> tf.Tensor:
    """Warps each example by a random affine map and elastic displacement, the same for all its channels.

    Voxels outside the record read as 0.

    Args:
        planes: float32 (batch, first, second, channels), whole records, of a static shape.
        config, seed, plane: as in random_matrices.
        rows: Rows of `planes` within a larger batch; None if they are the whole batch.

    Returns:
        float32 of the same shape. The caller crops it by the jitter on every side.
    """
    batch, *shape, _ = planes.shape
    rows, seeds = rows or Rows(batch), split(seed, 2)
    matrices = random_matrices(config, seeds[0], rows, shape, plane)
    if not config.elastic_voxels:
        return addons.warp_affine(planes, matrices)
    # The affine map is added to the displacement, so that the image is interpolated only once.
    here = tf.stack(tf.meshgrid(*(tf.range(size, dtype=tf.float32) for size in shape), indexing="ij"), axis=-1)
    # Not a matrix product: its rounding depends on the batch size, and each worker has only a part of the batch.
    first, second, offset = tf.unstack(matrices[:, None, None], axis=-1)
    there = first * here[..., :1] + second * here[..., 1:] + offset
    return addons.warp_dense(planes, there - here + _elastic(config, seeds[1], rows, shape, plane.spacing_mm))


def vary_intensity(images: tf.Tensor, config: AugmentConfig, seed: tf.Tensor, spacing_mm: Sequence[float] = (1.0, 1.0),
                   rows: Rows | None = None) -> tf.Tensor:
    """Changes the intensities of windowed images at random, with one draw per example.

    Args:
        images: float32 (batch, first, second, channels), 0 to 1.
        config: AugmentConfig; gamma, contrast, brightness, blur_voxels, low_resolution and noise are used.
        seed: int32 (2,).
        spacing_mm: in-plane voxel size; the blur has the same width in mm along both axes.
        rows: as in warp.

    Returns:
        float32 of the same shape, clipped to 0..1, the input range of the nets.
    """
    rows = rows or Rows(images.shape[0])
    seeds = split(seed, 6)

    def spread(values):
        return values[:, None, None, None]

    if config.gamma:
        images = images ** spread(tf.exp(_either(seeds[0], rows, config.gamma)))
    if config.contrast:
        mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
        images = mean + (images - mean) * spread(_uniform(seeds[1], rows, 1 - config.contrast, 1 + config.contrast))
    if config.brightness:
        images = images + spread(_either(seeds[2], rows, config.brightness))
    if config.blur_voxels:
        finest, sigma = min(spacing_mm), _uniform(seeds[3], rows, 0.0, config.blur_voxels)
        images = _separable(images, *(_gaussian(size, sigma * (finest / mm))
                                      for size, mm in zip(images.shape[1:3], spacing_mm, strict=True)))
    if config.low_resolution:
        factor = _uniform(seeds[4], rows, 1.0, 1.0 + config.low_resolution)
        images = _separable(images, *(_coarsened(size, factor) for size in images.shape[1:3]))
    if config.noise:
        # One seed per example, so that a worker draws the noise of its own rows only.
        own = split(seeds[5], rows.batch + 1)
        deviation = spread(_uniform(own.pop(), rows, 0.0, config.noise))
        images = images + deviation * tf.stack([tf.random.stateless_normal(images.shape[1:], one) for one in rows[own]])
    return tf.clip_by_value(images, 0.0, 1.0)


def _separable(images, first, second):
    """Multiplies each image by its own matrix (batch, size, size) along each in-plane axis, for all channels."""
    return tf.einsum("bxj,byjc->byxc", second, tf.einsum("byi,bijc->byjc", first, images))


def _gaussian(size, sigma):
    """Returns matrices (batch, size, size) that blur an axis; at the edges the weights are renormalized."""
    places = tf.range(size, dtype=tf.float32)
    distance = (places[:, None] - places) / tf.maximum(sigma, 1e-3)[:, None, None]
    return _averaging(tf.exp(-0.5 * distance**2))


def _coarsened(size, factor):
    """Returns matrices (batch, size, size) that downsample an axis to voxels `factor` times as wide and back.

    A wide voxel is a weighted mean of the voxels it covers (a scanner's partial volume effect), with the triangle
    kernel of `tf.image.resize`. Upsampling is linear too. A factor of 1 gives the identity.
    """
    places, factor = tf.range(size, dtype=tf.float32), factor[:, None]
    coarse = (places + 0.5) * factor - 0.5  # centers of the wide voxels; those past the end are ignored below
    wide = _averaging(tf.maximum(1.0 - tf.abs(coarse[:, :, None] - places) / factor[:, :, None], 0.0))
    back = tf.maximum(1.0 - tf.abs((places[:, None] - coarse[:, None, :]) / factor[:, :, None]), 0.0)
    return _averaging(back * tf.cast(coarse < size - 0.5, tf.float32)[:, None, :]) @ wide


def _averaging(weights):
    return tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=-1, keepdims=True))


def roughen(masks: tf.Tensor, seed: tf.Tensor, reach: int, rows: Rows | None = None) -> tf.Tensor:
    """Makes ground-truth kidney masks resemble the imperfect output of a net.

    Each mask is randomly dilated or eroded by up to `reach` voxels and shifted by up to `reach` voxels along each axis.
    A smooth random field from 0 to 1, drawn on a grid of 12 voxels, selects patches that are removed, where it is
    below a threshold of up to HOLES, or added near the mask, where it is above one minus that threshold.

    Args:
        masks: float32 (batch, y, x, 1), 0 or 1.
        seed: int32 (2,).
        reach: largest dilation, erosion and shift, in voxels.
        rows: as in warp.

    Returns:
        float32 of the same shape, 0 or 1.
    """
    batch, height, width, _ = masks.shape
    rows, seeds = rows or Rows(batch), split(seed, 4)

    def grown(tensor, by):
        return tf.nn.max_pool2d(tensor, 2 * by + 1, strides=1, padding="SAME") if by else tensor

    def shrunk(tensor, by):
        return 1.0 - grown(1.0 - tensor, by)

    sizes = tf.stack([shrunk(masks, by) for by in range(reach, 0, -1)] + [grown(masks, by) for by in range(reach + 1)])
    chosen = rows[tf.random.stateless_uniform([rows.batch], seeds[0], 0, 2 * reach + 1, tf.int32)]
    rough = tf.gather(tf.transpose(sizes, (1, 0, 2, 3, 4)), chosen, axis=1, batch_dims=1)

    field = tf.random.stateless_uniform((rows.batch, -(-height // 12), -(-width // 12), 1), seeds[1])
    field = tf.image.resize(rows[field], (height, width), method="bicubic")
    share = tf.reshape(_uniform(seeds[2], rows, 0.0, HOLES), (batch, 1, 1, 1))
    near = grown(rough, 2 * reach)
    rough = tf.where(field < share, 0.0, tf.where(field > 1.0 - share, near, rough))

    shift = tf.random.stateless_uniform([rows.batch, 2, 1], seeds[3], -reach - 0.499, reach + 0.499)
    moves = tf.concat([tf.eye(2, batch_shape=[batch]), tf.round(rows[shift])], axis=2)
    return addons.warp_affine(rough, moves, interpolation="nearest")
