"""Second half of the method: finds the tumor voxels of the kidneys.

The 3D net detects lesions in the box around the kidneys. Lesions that touch no kidney are dropped. The two-channel 2D
net refines the remaining lesions; if they are below the size threshold, it searches the whole kidney region instead.

Source: Zhang et al., KiTS19 entry, section 2. Details it does not give are in kits_tf/config and the comments here.
"""

import typing

import tensorflow as tf

from kits_tf.cascade import tiling
from kits_tf.cascade.kidney_steps import THRESHOLD, Region, predict_kidneys, tumor_pad
from kits_tf.config import CascadeConfig
from kits_tf.ops import components, crop

TILE_OVERLAP = 0.25  # of the tiles of tumor3d, as a fraction of a tile along each axis


class Lesions(typing.NamedTuple):
    """Lesions after the lesion rule."""

    probabilities: tf.Tensor  # float32 (z, y, x), of the kept lesions and the voxels next to them; zero elsewhere
    mask: tf.Tensor  # bool (z, y, x), the kept lesions
    kept: tf.Tensor  # int32, number of kept lesions
    dropped: tf.Tensor  # int32, number of lesions that touch no kidney


def keep_connected(probabilities: tf.Tensor, kidney_mask: tf.Tensor) -> Lesions:
    """Applies the lesion rule: drops lesions that are not connected (26 neighbors) to the kidney mask.

    Keeps the probabilities within one voxel of a kept lesion too, so that interpolation does not move its edge. No
    voxel of a dropped lesion is that near, otherwise the two would be one component.
    """
    mask, kept, dropped = components.connected_to(probabilities > THRESHOLD, kidney_mask)
    near = tf.where(crop.dilate(mask, (1, 1, 1)), probabilities, 0.0)
    return Lesions(near, mask, kept, dropped)


def with_threshold_at_half(probabilities: tf.Tensor, threshold: float) -> tf.Tensor:
    """Maps probabilities so that `threshold` becomes one half, by adding a constant to their logits.

    The later steps, interpolation and the union with tumor2d, use a threshold of one half. Bayes' rule gives the same
    mapping for a net that was trained with a larger share of foreground than it sees in prediction.
    """
    if threshold == 0.5:
        return probabilities
    foreground = probabilities * (1.0 - threshold)
    return foreground / (foreground + (1.0 - probabilities) * threshold)


def detect(net: tiling.Net, image: tf.Tensor, kidney_mask: tf.Tensor, config: CascadeConfig) -> tf.Tensor:
    """Runs the 3D net tile by tile over the bounding box of the fine result, padded on every side.

    Args:
        net: the tumor3d net.
        image: float32 (z, y, x), the windowed region.
        kidney_mask: bool, same shape, the fine result; not empty.

    Returns:
        Probabilities, float32 (z, y, x), zero outside the padded box, mapped so that config.lesion_threshold becomes
        one half.
    """
    tile = config.tumor3d.tile_voxels
    start, stop = crop.box_of(kidney_mask)
    pad = tumor_pad(config)
    start = tf.maximum(start - pad, 0)
    stop = tf.minimum(stop + pad, tf.shape(image))
    middle = tf.cast(start + stop - 1, tf.float32) / 2.0
    positions = [crop.cover_axis(start[axis], stop[axis], middle[axis], tile[axis],
                                 int(tile[axis] * TILE_OVERLAP)) for axis in range(3)]
    found = tiling.predict_tiles(net, [image], positions, tile, tiling.BLOCK)
    inside = with_threshold_at_half(tf.slice(found, start, stop - start), config.lesion_threshold)
    return tf.pad(inside, tf.stack([start, tf.shape(image) - stop], axis=1))


def segment_tumor(nets: dict[str, tiling.Net], region: Region, kidney_probabilities: tf.Tensor,
                  config: CascadeConfig) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
    """Computes tumor probabilities from the fine result.

    Args:
        nets: dict with the nets of tumor3d and tumor2d.
        kidney_probabilities: float32 (z, y, x), of the region's shape, from the fine net.

    Returns:
        (tumor, foreground, report): float32 (z, y, x) probabilities of tumor, and of kidney with the kept lesions; and
        a dict of scalars (`lesions_kept`, `lesions_dropped`, `tumor_fallback_used`).
    """
    kidney_mask = kidney_probabilities > THRESHOLD
    some_kidney = tf.reduce_any(kidney_mask)
    detected = tf.cond(some_kidney, lambda: detect(nets["tumor3d"], region.image, kidney_mask, config),
                       lambda: tf.zeros_like(region.image))
    lesions = keep_connected(detected, kidney_mask)
    nothing = tf.math.count_nonzero(lesions.mask, dtype=tf.int32) < config.tumor_min_voxels
    fallback = some_kidney & nothing
    # Below the size threshold, tumor3d's detections are ignored.
    lesion_mask = lesions.mask & ~nothing
    lesion = tf.where(nothing, 0.0, lesions.probabilities)

    # tumor2d searches around the detected lesions, or, without any, around the whole kidneys.
    margin = config.refine_margin_voxels
    searched = tf.cond(fallback, lambda: kidney_mask, lambda: lesion_mask)
    near = crop.dilate(searched, (config.slices_of(margin), margin, margin))
    answers = predict_kidneys(nets["tumor2d"], region, config, config.tumor2d.predict_batch,
                              masks=[tf.cast(kidney_mask, tf.float32)], active=near)
    # The lesion rule applies to the 2D net's result too, so that no dropped lesion comes back.
    refined = keep_connected(tf.where(near, answers, 0.0), kidney_mask | lesion_mask).probabilities

    looked = answers >= 0  # inside the crops; a lesion may extend beyond the crops of its kidney
    alone = config.tumor_fusion == "tumor2d"
    tumor = tf.where(looked, refined, lesion) if alone else tf.maximum(lesion, refined)
    foreground = tf.maximum(kidney_probabilities, lesion)
    report = {"lesions_kept": lesions.kept, "lesions_dropped": lesions.dropped, "tumor_fallback_used": fallback}
    return tumor, foreground, report
