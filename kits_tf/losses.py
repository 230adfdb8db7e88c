"""Training losses: soft Dice over the batch or per example, voxelwise cross-entropy, and weighted sums of them.

Logits and labels are float32 of the same shape, (batch, ..., 1); labels are 0 or 1. Each loss is a scalar.

Zhang et al. train their 2D nets with Dice and their 3D net with cross-entropy. Their Dice is a mean over examples; our
first term computes it over the whole batch, as if it were one image. In a mean over examples, a slice without
foreground has Dice near 0 with a single false positive voxel and near 1 without any, so the many tumor-free slices of
tumor2d dominate the loss. Over the batch, however, a tumor of 50 voxels has almost no weight next to one of 5,000, and
small tumors are not learned (measured on synthetic phantoms: batch Dice 0.95 on the training cases, small tumors among
them at 0.0). The second Dice term is therefore a mean over the examples with foreground only. Cross-entropy penalizes
false positives in the other examples.
"""

from collections.abc import Callable

import tensorflow as tf

# Added to numerator and denominator of soft Dice, in voxels. A batch without foreground then has the loss
# sum / (sum + SMOOTH), where sum is that of its probabilities, so it still has a useful gradient.
SMOOTH = 1.0


def soft_dice_sums(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Computes the two sums of the soft Dice ratio. Unlike Dice itself, they can be added over batches and replicas.

    Returns:
        float32 (2,): the overlap, and the sum of the sizes of both masks, in voxels.
    """
    probabilities = tf.sigmoid(logits)
    return tf.stack([tf.reduce_sum(labels * probabilities), tf.reduce_sum(labels) + tf.reduce_sum(probabilities)])


def soft_dice_loss_of(sums: tf.Tensor) -> tf.Tensor:
    """Returns one minus soft Dice, from the result of `soft_dice_sums`."""
    overlap, size = tf.unstack(sums)
    return 1.0 - (2.0 * overlap + SMOOTH) / (size + SMOOTH)


def soft_dice_loss(labels: tf.Tensor, logits: tf.Tensor,
                   total: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> tf.Tensor:
    """Returns one minus the soft Dice overlap of all voxels in the batch.

    Args:
        labels: float32 (batch, ..., 1), 0 or 1.
        logits: float32, the same shape.
        total: adds a tensor over replicas when the batch is split between several. The Dice of the whole batch cannot
            be computed from the Dice of its parts.

    Returns:
        float32 scalar, from 0 (perfect) to 1.

    Source: Milletari et al. 2016, V-Net, arXiv:1606.04797. They square the terms of the denominator and use one volume
    at a time; this function does neither. The sum over the batch follows Kodym et al. 2018, arXiv:1807.10097.
    """
    return soft_dice_loss_of(total(soft_dice_sums(labels, logits)))


def example_dice_sums(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns float32 (2,): the sum of the soft Dice losses of the examples with foreground, and their number."""
    within = list(range(1, len(labels.shape)))
    probabilities = tf.sigmoid(logits)
    overlap = tf.reduce_sum(labels * probabilities, axis=within)
    foreground = tf.reduce_sum(labels, axis=within)
    size = foreground + tf.reduce_sum(probabilities, axis=within)
    shown = tf.cast(foreground > 0, tf.float32)
    return tf.stack([tf.reduce_sum(shown * (1.0 - (2.0 * overlap + SMOOTH) / (size + SMOOTH))), tf.reduce_sum(shown)])


def example_dice_loss_of(sums: tf.Tensor) -> tf.Tensor:
    """Returns the mean loss, from the result of `example_dice_sums`; 0 if no example has foreground."""
    return tf.math.divide_no_nan(sums[0], sums[1])


def example_dice_loss(labels: tf.Tensor, logits: tf.Tensor,
                      total: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> tf.Tensor:
    """Returns one minus the mean soft Dice of the examples with foreground.

    A small lesion has the same weight as a large one. Args and source are those of soft_dice_loss. A batch without
    foreground has loss 0 and no gradient.
    """
    return example_dice_loss_of(total(example_dice_sums(labels, logits)))


def cross_entropy_loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the mean binary cross-entropy of all voxels, in nats; log 2 if every probability is 0.5."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))


def segmentation_loss(labels: tf.Tensor, logits: tf.Tensor, dice_weight: float, example_dice_weight: float,
                      cross_entropy_weight: float, total: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> tf.Tensor:
    """Returns the weighted sum of the three losses. A loss with weight zero is not computed.

    Args:
        labels, logits: as in soft_dice_loss.
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
