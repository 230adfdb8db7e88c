"""The perfect cascade: threshold networks on a scan made from labels, and its upper score limit.

The limit is computed with NumPy alone: the scan is resampled to the normalized spacing, thresholded in the same way,
resampled back and thresholded at one half. Any further loss comes from the cascade's crops, rules or grids.
"""

import pathlib

import numpy as np
import tensorflow as tf

from harness.patients import HU, KIDNEY_ABOVE, TUMOR_ABOVE
from kits_tf import config as configs
from kits_tf.cascade.confidence import findings
from kits_tf.cascade.kidney_steps import Region

WINDOW_HU = (-79, 304)
NORMALIZED_MM = (3.0, 0.7816, 0.7816)


def nets():
    """Returns networks for all five stages that apply thresholds to their first channel."""

    def above(threshold):
        return lambda inputs: tf.cast(inputs[..., :1] > threshold, tf.float32)

    kidney, tumor = above(KIDNEY_ABOVE), above(TUMOR_ABOVE)
    return {"coarse": kidney, "correction": kidney, "fine": kidney, "tumor3d": tumor, "tumor2d": tumor}


CONTENTS = '{"bfloat16": []}\n'  # of Thresholds: it has the signature, and no net that computes in it


class Thresholds(tf.Module):
    """A module with the exported cascade's main signatures that applies two thresholds to the scan.

    It loads and runs in a moment, for tests of the code around the cascade.
    """

    config = configs.PRESETS["demo"]

    @tf.function(input_signature=[tf.TensorSpec((None, None, None), tf.int16, name="volume"),
                                  tf.TensorSpec((3,), tf.float32, name="spacing_mm")])
    def serve(self, volume, spacing_mm):
        labels = tf.cast(volume > 60, tf.uint8) + tf.cast(volume > 160, tf.uint8)
        ml = [tf.reduce_prod(spacing_mm) / 1000 * tf.cast(tf.math.count_nonzero(labels == kind), tf.float32)
              for kind in (1, 2)]
        yes, no = tf.constant(True), tf.constant(False)
        one = tf.constant(1)
        return {"labels": labels, "kidneys_coarse": one + one, "coarse_empty": no, "correction_used": no,
                "kidneys": one + one, "lesions_kept": one, "lesions_dropped": one - one,
                "tumor_fallback_used": tf.logical_not(yes), "kidney_ml": ml[0], "tumor_ml": ml[1],
                "coarse_components_ml": tf.stack(ml), "kidney_parts_dropped": one - one,
                "smaller_parts_dropped": one - one,
                "kidneys_found": self.found(labels >= 1), "tumors_found": self.found(labels == 2)}

    def found(self, mask):
        """Lists the components of a mask of the scan; their confidence is almost 1."""
        shape = tf.shape(mask)
        region = Region(None, None, tf.zeros(3, tf.int32), shape)
        return findings(tf.cast(mask, tf.float32), 0.5, region, shape, (0.0, 1.0, 0.0), self.config)

    @tf.function(input_signature=[])
    def about(self):
        return {"config": tf.constant(configs.to_json(self.config)), "contents": tf.constant(CONTENTS)}


def export_thresholds(directory):
    """Exports Thresholds in place of a cascade, as version 1."""
    module, version = Thresholds(), pathlib.Path(directory, "1")
    tf.saved_model.save(module, str(version), signatures={
        "serving_default": module.serve, "xla": module.serve, "bfloat16": module.serve, "about": module.about})
    (version / "assets" / "contents.json").write_text(CONTENTS)
    (version / "assets" / "config.json").write_text(configs.to_json(module.config))


def dice(one, other):
    """Returns KiTS19's Dice of two masks; 1 if both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2.0 * int((one & other).sum()) / total if total else 1.0


def scores(labels, truth):
    """Returns the Dice of (kidney with tumor, tumor)."""
    return dice(labels > 0, truth > 0), dice(labels == 2, truth == 2)


def _matrix(size_in, size_out):
    """Returns the linear resampling matrix of an axis over the same extent; downsampling widens the triangle kernel."""
    step = size_in / size_out
    centre = (np.arange(size_out) + 0.5) * step - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(size_in) - centre[:, np.newaxis]) / max(step, 1.0))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _apply(volume, matrices):
    for axis, matrix in enumerate(matrices):
        volume = np.moveaxis(np.tensordot(matrix, volume, axes=(1, axis)), 0, axis)
    return volume


def _there_and_back(values, spacing_mm, threshold):
    grid = [max(1, round(size * mm / target)) for size, mm, target in
            zip(values.shape, spacing_mm, NORMALIZED_MM, strict=True)]
    there = _apply(values, [_matrix(size, to) for size, to in zip(values.shape, grid, strict=True)])
    cut = (there > threshold).astype(np.float32)
    return _apply(cut, [_matrix(to, size) for size, to in zip(values.shape, grid, strict=True)]) > 0.5


def ceiling(truth, spacing_mm):
    """Returns the best labels that perfect networks can give: thresholds on the resampled scan."""
    scan = HU[truth].astype(np.float32)
    low, high = WINDOW_HU
    masks = [_there_and_back(scan, spacing_mm, low + above * (high - low)) for above in (KIDNEY_ABOVE, TUMOR_ABOVE)]
    return np.where(masks[1], 2, masks[0]).astype(np.uint8)


def mask_ceiling(truth, spacing_mm):
    """Returns the best labels if networks saw resampled masks, thresholded at one half, instead of the scan."""
    masks = [_there_and_back((truth >= least).astype(np.float32), spacing_mm, 0.5) for least in (1, 2)]
    return np.where(masks[1], 2, masks[0]).astype(np.uint8)
