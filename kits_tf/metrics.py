"""Dice per case, gathered over a case's examples while they pass in batches of any mix.

Every example gives three counts of voxels: in both masks, in the truth, in the prediction. Counts of one case are
added, and only then divided: the Dice of a case, not the mean of its slices.
"""

import collections

import numpy as np
import tensorflow as tf


def overlap_counts(labels, probabilities, threshold=0.5):
    """Counts voxels of each example.

    Args:
        labels: float32 (batch, ..., 1), 0 or 1.
        probabilities: float32, the same shape, not logits.
        threshold: a voxel is predicted at this probability or above.

    Returns:
        float32 (batch, 3): voxels in both, in the labels, in the prediction. Exact below 16 million voxels.
    """
    predicted = tf.cast(probabilities >= threshold, tf.float32)
    space = list(range(1, len(labels.shape)))
    return tf.stack([tf.reduce_sum(part, axis=space) for part in (labels * predicted, labels, predicted)], axis=1)


def dice_of_counts(counts):
    """Dice of (both, labels, predicted) voxel counts; 1 where both masks are empty."""
    both, labels, predicted = (float(count) for count in counts)
    return 2.0 * both / (labels + predicted) if labels + predicted else 1.0


def dice_per_case(cases, counts):
    """Adds up the counts of each case and divides.

    Args:
        cases: the case of each example, anything hashable, length n.
        counts: array (n, 3), of `overlap_counts`.

    Returns:
        dict case -> Dice, in the order in which the cases first came.
    """
    sums = collections.defaultdict(lambda: np.zeros(3))
    for case, count in zip(cases, np.asarray(counts, np.float64), strict=True):
        sums[case] += count
    return {case: dice_of_counts(count) for case, count in sums.items()}
