"""Dice per case, gathered over a case's examples while they pass in batches of any mix.

Every example gives three counts of voxels: in both masks, in the truth, in the prediction. Counts of one case are
added, and only then divided: the Dice of a case, not the mean of its slices.
"""

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike


def overlap_counts(labels: tf.Tensor, probabilities: tf.Tensor, counted: tf.Tensor | None = None,
                   threshold: float = 0.5) -> tf.Tensor:
    """Counts voxels of each example.

    Args:
        labels: float32 (batch, ..., 1), 0 or 1.
        probabilities: float32, the same shape, not logits.
        counted: float32, the same shape, 1 where a voxel counts and 0 elsewhere; None if all do.
        threshold: a voxel is predicted at this probability or above.

    Returns:
        float32 (batch, 3): voxels in both, in the labels, in the prediction. Exact below 16 million voxels.
    """
    predicted = tf.cast(probabilities >= threshold, tf.float32)
    if counted is not None:
        labels, predicted = labels * counted, predicted * counted
    space = list(range(1, len(labels.shape)))
    return tf.stack([tf.reduce_sum(part, axis=space) for part in (labels * predicted, labels, predicted)], axis=1)


def sum_per_case(cases: tf.Tensor, counts: tf.Tensor, number_of_cases: int) -> tf.Tensor:
    """Adds up the counts of each case.

    Args:
        cases: int32 (batch,), from 0 up.
        counts: (batch, 3), of `overlap_counts`.
        number_of_cases: how many there are in all.

    Returns:
        float64 (number_of_cases, 3); nought for cases that are not in the batch.
    """
    return tf.math.unsorted_segment_sum(tf.cast(counts, tf.float64), cases, number_of_cases)


def dice_of_counts(counts: ArrayLike) -> np.ndarray:
    """Dice of each case.

    Args:
        counts: array (cases, 3): voxels in both masks, in the labels, in the prediction.

    Returns:
        float64 array (cases,); 1 for a case with nothing in either mask.
    """
    both, labels, predicted = np.asarray(counts, np.float64).T
    return np.where(labels + predicted > 0, 2.0 * both / np.maximum(labels + predicted, 1.0), 1.0)
