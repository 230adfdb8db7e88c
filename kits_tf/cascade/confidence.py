"""Finds the kidneys and tumors of the cascade's result and how sure the nets are of each.

Takes the probabilities of the region on the normalized grid; returns one row per connected component, with a confidence
from 0 to 1. Raw confidence is the mean probability over the component's voxels. A logistic model then corrects it for
the component's size (Platt scaling; Platt 1999): small components are wrong more often than their probability says.
"""

import math

import tensorflow as tf

from kits_tf.cascade.kidney_steps import Region
from kits_tf.config import CascadeConfig
from kits_tf.ops import components

COLUMNS = ("z", "y", "x", "volume_ml", "confidence")
LEAST_ML = 0.1  # smaller components are not listed


def findings(probabilities: tf.Tensor, threshold: float, region: Region, shape: tf.Tensor,
             coefficients: tuple[float, float, float], config: CascadeConfig) -> tf.Tensor:
    """Lists the connected components (26 neighbors) of at least LEAST_ML.

    Args:
        probabilities: float32 (z, y, x), of the region.
        threshold: a voxel above it belongs to a component.
        region: kidney_steps.Region, of which position and grid are used.
        shape: int32 (3,), the scan's shape.
        coefficients: (a, b, c) of the logistic model: confidence = sigmoid(a + b * logit(mean) + c * ln(volume in ml)).

    Returns:
        float32 (components, 5), with COLUMNS: z, y and x of the component's centroid in the scan's voxels, its volume
        in ml and its confidence.
    """
    mask = probabilities > threshold
    numbered, count = components.label_components(mask)
    where = tf.where(mask)
    ids = tf.gather_nd(numbered, where) - 1
    means = tf.math.unsorted_segment_mean(tf.gather_nd(probabilities, where), ids, count)
    centres = tf.math.unsorted_segment_mean(tf.cast(where, tf.float32), ids, count)
    steps = tf.cast(shape, tf.float32), tf.cast(region.grid, tf.float32)
    centres = (centres + tf.cast(region.origin, tf.float32) + 0.5) * steps[0] / steps[1]
    volumes = tf.cast(components.component_sizes(numbered, count, math.prod(config.spacing_mm) / 1000.0), tf.float32)
    a, b, c = coefficients
    bounded = tf.clip_by_value(means, 1e-6, 1.0 - 1e-6)
    logits = tf.math.log(bounded) - tf.math.log1p(-bounded)
    confidence = tf.sigmoid(a + b * logits + c * tf.math.log(tf.maximum(volumes, 1e-3)))
    table = tf.concat([centres - 0.5, volumes[:, None], confidence[:, None]], axis=1)
    return tf.boolean_mask(table, volumes >= LEAST_ML)
