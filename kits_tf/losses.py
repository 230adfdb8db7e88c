"""What the nets are trained to make small: soft Dice over the batch or per example, voxelwise cross-entropy, and mixes.

Logits and labels are float32 of one shape, (batch, ..., 1); a label is 0 or 1. Each function returns one number.

Zhang et al. train their 2D nets on Dice and their 3D net on cross-entropy. Their Dice is a mean over examples; ours is
taken over the whole batch, as if it were one image. Per example, a slice without foreground has Dice near 0 for a
single false voxel and near 1 for none, so the many tumor-free slices of tumor2d drown what the others teach. But over
the batch a tumor of fifty voxels counts for nothing beside one of five thousand, and small tumors are never learned
(measured on drawn patients: batch Dice 0.95 on training cases, small tumors among them at 0.0). So there is a third
term: Dice per example, over the examples that have foreground alone; what is false elsewhere is cross-entropy's.
"""

from collections.abc import Callable

import tensorflow as tf


def soft_dice_sums(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The two sums that soft Dice is a ratio of; they add up over batches and replicas, as Dice itself does not.

    Returns:
        float32 (2,): overlap, and size of both masks together, in voxels.
    """
    probabilities = tf.sigmoid(logits)
    return tf.stack([tf.reduce_sum(labels * probabilities), tf.reduce_sum(labels) + tf.reduce_sum(probabilities)])


def soft_dice_loss_of(sums: tf.Tensor, smooth: float = 1.0) -> tf.Tensor:
    """One minus soft Dice, from `soft_dice_sums`."""
    overlap, size = tf.unstack(sums)
    return 1.0 - (2.0 * overlap + smooth) / (size + smooth)


def soft_dice_loss(labels: tf.Tensor, logits: tf.Tensor, smooth: float = 1.0,
                   total: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> tf.Tensor:
    """One minus the soft Dice overlap of all voxels in the batch.

    Args:
        labels: float32 (batch, ..., 1), 0 or 1.
        logits: float32, the same shape.
        smooth: added to both halves of the ratio; in voxels. A batch with no foreground then has the loss
            sum / (sum + smooth) of its probabilities, which still teaches the net to find nothing.
        total: adds up a tensor over replicas when the batch is spread over several; Dice of the parts is not Dice of
            the whole.

    Returns:
        float32 scalar, from 0 (perfect) to 1.

    Source: Milletari et al. 2016, V-Net, arXiv:1606.04797. Theirs squares the terms of the denominator and takes one
    volume at a time; ours does neither. Over the batch as in Kodym et al. 2018, arXiv:1807.10097.
    """
    return soft_dice_loss_of(total(soft_dice_sums(labels, logits)), smooth)


def example_dice_sums(labels: tf.Tensor, logits: tf.Tensor, smooth: float = 1.0) -> tf.Tensor:
    """Soft Dice losses of the examples that have foreground, added up, and how many they are: float32 (2,)."""
    within = list(range(1, len(labels.shape)))
    probabilities = tf.sigmoid(logits)
    overlap = tf.reduce_sum(labels * probabilities, axis=within)
    foreground = tf.reduce_sum(labels, axis=within)
    size = foreground + tf.reduce_sum(probabilities, axis=within)
    shown = tf.cast(foreground > 0, tf.float32)
    return tf.stack([tf.reduce_sum(shown * (1.0 - (2.0 * overlap + smooth) / (size + smooth))), tf.reduce_sum(shown)])


def example_dice_loss_of(sums: tf.Tensor) -> tf.Tensor:
    """The mean, from `example_dice_sums`; 0 where no example has foreground."""
    return tf.math.divide_no_nan(sums[0], sums[1])


def example_dice_loss(labels: tf.Tensor, logits: tf.Tensor, smooth: float = 1.0,
                      total: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> tf.Tensor:
    """One minus the mean soft Dice of the examples that have foreground: a small lesion counts as much as a large one.

    Args and source as soft_dice_loss; a batch without foreground has loss 0 and teaches nothing.
    """
    return example_dice_loss_of(total(example_dice_sums(labels, logits, smooth)))


def cross_entropy_loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean binary cross-entropy of all voxels, in nats: log 2 for a net that knows nothing."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))


def segmentation_loss(labels: tf.Tensor, logits: tf.Tensor, dice_weight: float, example_dice_weight: float,
                      cross_entropy_weight: float, total: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> tf.Tensor:
    """The three losses weighted and added; one whose weight is zero is not computed.

    Args:
        labels, logits: as above.
        dice_weight, example_dice_weight, cross_entropy_weight: as in config.TrainingConfig, zero or more, not all zero.
        total: as in soft_dice_loss.

    Raises:
        ValueError: if all weights are zero.
    """
    terms = []
    if dice_weight:
        terms.append(dice_weight * soft_dice_loss(labels, logits, total=total))
    if example_dice_weight:
        terms.append(example_dice_weight * example_dice_loss(labels, logits, total=total))
    if cross_entropy_weight:
        terms.append(cross_entropy_weight * cross_entropy_loss(labels, logits))
    if not terms:
        raise ValueError("dice_weight, example_dice_weight and cross_entropy_weight must not all be zero")
    return tf.add_n(terms)
