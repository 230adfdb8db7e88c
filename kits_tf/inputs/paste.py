"""Pastes another patient's tumor onto an example's kidney, in image and masks: few patients then show many tumors.

After TumorCP (Yang et al., MICCAI 2021), which gained most where patients were few. What is pasted here also enhances
as the kidney it comes to does: contrast medium is about as dense in the two, whatever the phases.
"""

import dataclasses

import tensorflow as tf

from kits_tf.config import AugmentConfig
from kits_tf.inputs import augment

UNENHANCED_HU = 35.0  # kidney and tumor without contrast medium, about
LEAST_HU = 12.0  # a kidney that enhances by less has no contrast medium
# Where one kidney enhances this many times as much as the other, too little of the tumor's looks, or too much of its
# noise, would come along: nothing is pasted.
MOST_SCALED = 1.5
STRENGTH, LEVEL_HU = 0.2, 20.0  # the tumor's enhancement varies by this share, and all of it by so much, either way
SCALE = 0.4  # a donor is zoomed by up to this, either way: a large tumor becomes a middling one, and so on


def turned(settings: AugmentConfig) -> AugmentConfig:
    """How a donor is moved: as an example is, but turned, mirrored and zoomed as tumors alone allow it."""
    return dataclasses.replace(settings, flip_x=True, flip_y=True, rotate_degrees=180.0,
                               scale=max(settings.scale, SCALE))


def paste_tumors(own: tuple[tf.Tensor, ...], donor: tuple[tf.Tensor, ...], chance: float,
                 window_hu: tuple[float, float], seed: tf.Tensor, rows: augment.Rows) -> tuple[tf.Tensor, ...]:
    """Pastes each donor's tumor into the example of the same place in the batch, centred on a voxel of its kidney.

    Nothing is pasted where the example shows no kidney, where the donor's tumor reaches the edge of its record and so
    is cut off, or where the two kidneys enhance too differently.

    Args:
        own: (image, tumor, kidney), each float32 (batch, first, second, depth) from 0 to 1: a windowed image, and two
            masks as they were warped, kidney with tumor.
        donor: the same of other examples.
        chance: of pasting, per example.
        window_hu: HU of the image's 0 and 1.
        seed: int32 (2,).
        rows: augment.Rows that these are of the batch.

    Returns:
        (image, tumor, kidney) like `own`.
    """
    image, tumor, kidney = own
    low, high = window_hu
    base, least = (UNENHANCED_HU - low) / (high - low), LEAST_HU / (high - low)

    def drawn(number, bound_low, bound_high):
        chances = tf.random.stateless_uniform([rows.batch], augment.split(seed, 4)[number], bound_low, bound_high)
        return rows[chances]

    def enhancement(image, tumor, kidney):
        parenchyma = tf.cast((kidney >= 0.5) & (tumor < 0.5), tf.float32)
        voxels = tf.reduce_sum(parenchyma, axis=(1, 2, 3))
        mean = tf.math.divide_no_nan(tf.reduce_sum(image * parenchyma, axis=(1, 2, 3)), voxels)
        return tf.maximum(mean - base, least), voxels > 0

    (ours, seen), (theirs, compared) = enhancement(*own), enhancement(*donor)
    scale = ours / theirs
    alike = (scale <= MOST_SCALED) & (scale >= 1.0 / MOST_SCALED)
    apt = (drawn(0, 0.0, 1.0) < chance) & seen & compared & alike & ~_cut_off(donor[1])

    move = _random_voxel(kidney >= 0.5, drawn(1, 0.0, 1.0)) - _centroid(donor[1])
    lesion, mask = tf.unstack(_shifted(tf.stack(donor[:2], axis=-1), move), axis=-1)

    def spread(values):
        return tf.cast(values, tf.float32)[:, None, None, None]

    level = LEVEL_HU / (high - low)
    lesion = base + (lesion - base) * spread(scale * drawn(2, 1.0 - STRENGTH, 1.0 + STRENGTH))
    lesion = tf.clip_by_value(lesion + spread(drawn(3, -level, level)), 0.0, 1.0)
    mask *= spread(apt)
    share = tf.nn.avg_pool2d(mask, 3, strides=1, padding="SAME")  # no edge sharper than a scanner's
    return image + share * (lesion - image), tf.maximum(tumor, mask), tf.maximum(kidney, mask)


def _cut_off(mask):
    """Whether a mask (batch, first, second, depth) reaches the end of an axis, unless that is one voxel long."""
    ends = [tf.gather(mask, (0, size - 1), axis=axis) for axis, size in enumerate(mask.shape) if axis and size > 1]
    return tf.reduce_any([tf.reduce_any(end >= 0.5, axis=(1, 2, 3)) for end in ends], axis=0)


def _random_voxel(mask, chance):
    """A voxel of each mask (batch, first, second, depth), by a number from 0 to 1: int32 (batch, 3)."""
    order = tf.cumsum(tf.cast(tf.reshape(mask, (mask.shape[0], -1)), tf.int32), axis=1)
    number = tf.cast(chance * tf.cast(order[:, -1], tf.float32), tf.int32)
    found = tf.searchsorted(order, number[:, None] + 1)[:, 0]
    return tf.transpose(tf.unravel_index(tf.minimum(found, order.shape[1] - 1), mask.shape[1:]))


def _centroid(mask):
    """Of each mask (batch, first, second, depth), in whole voxels: int32 (batch, 3)."""
    axes = (1, 2, 3)
    weight = tf.reduce_sum(mask, axis=axes)
    sums = [tf.reduce_sum(tf.range(mask.shape[axis], dtype=tf.float32)
                          * tf.reduce_sum(mask, axis=[other for other in axes if other != axis]), axis=1)
            for axis in axes]
    return tf.cast(tf.round(tf.math.divide_no_nan(tf.stack(sums, axis=1), weight[:, None])), tf.int32)


def _shifted(blocks, move):
    """Blocks (batch, first, second, depth, channels), each moved by whole voxels (batch, 3); what comes in is 0."""
    for axis, equation in enumerate(("bai,bixyc->baxyc", "bai,bxiyc->bxayc", "bai,bxyic->bxyac")):
        places = tf.range(blocks.shape[1 + axis])
        blocks = tf.einsum(equation, tf.one_hot(places - move[:, axis, None], len(places)), blocks)
    return blocks
