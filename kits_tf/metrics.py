"""Dice per case, accumulated over batches that may mix examples of several cases.

Each example yields three voxel counts: in both masks, in the ground truth, in the prediction. The counts of a case are
added before dividing, so the result is the Dice of the case, not the mean Dice of its slices.
"""

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike


def overlap_counts(labels: tf.Tensor, probabilities: tf.Tensor, counted: tf.Tensor | None = None) -> tf.Tensor:
    """Counts the true, predicted (at a probability of 0.5 or above) and common voxels of each example.

    Args:
        labels: float32 (batch, ..., 1), 0 or 1.
        probabilities: float32, the same shape, not logits.
        counted: float32, the same shape, 1 for voxels to count and 0 for voxels to ignore; None counts all.

    Returns:
        float32 (batch, 3): voxels in both, in the labels, in the prediction. Exact below 16 million voxels per example.
    """
    predicted = tf.cast(probabilities >= 0.5, tf.float32)
    if counted is not None:
        labels, predicted = labels * counted, predicted * counted
    space = list(range(1, len(labels.shape)))
    return tf.stack([tf.reduce_sum(part, axis=space) for part in (labels * predicted, labels, predicted)], axis=1)


def sum_per_case(cases: tf.Tensor, counts: tf.Tensor, number_of_cases: int) -> tf.Tensor:
    """Adds the counts of each case.

    Args:
        cases: int32 (batch,), index of each example's case, from 0.
        counts: (batch, 3), from `overlap_counts`.
        number_of_cases: total number of cases.

    Returns:
        float64 (number_of_cases, 3); zero for cases that are not in the batch.
    """
    return tf.math.unsorted_segment_sum(tf.cast(counts, tf.float64), cases, number_of_cases)


def dice_of_counts(counts: ArrayLike) -> np.ndarray:
    """Computes the Dice of each case.

    Args:
        counts: array (cases, 3): voxels in both masks, in the labels, in the prediction.

    Returns:
        float64 array (cases,); 1 for a case in which both masks are empty.
    """
    both, labels, predicted = np.asarray(counts, np.float64).T
    return np.where(labels + predicted > 0, 2.0 * both / np.maximum(labels + predicted, 1.0), 1.0)
