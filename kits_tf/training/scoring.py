"""Computes loss and Dice on the validation cases, over all replicas."""

import warnings
from collections.abc import Callable

import tensorflow as tf

from kits_tf import losses, metrics
from kits_tf.training.task import Task


def scorer(strategy: tf.distribute.Strategy, net: tf.keras.Model, task: Task,
           held_out: tf.data.Dataset) -> Callable[[], tuple[float, float]]:
    """Returns a function that computes the validation loss and Dice of a net.

    The loss is that of all validation examples, as if they were one batch; only the first output channel is scored. The
    Dice is the mean over the cases; each voxel of a case counts once, even where examples overlap.

    Args:
        net: the net, ending in logits. Its weights are read at each call.
        held_out: the task's held_out_batches.
    """
    options = tf.data.Options()  # shard by examples, since there are few files
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    dataset = strategy.experimental_distribute_dataset(held_out.with_options(options))
    cases, training = len(task.held_out), task.training

    @tf.autograph.experimental.do_not_convert
    def on_replica(image, target, case, first):
        logits = net(image, training=False)[..., :1]
        counts = metrics.sum_per_case(case, metrics.overlap_counts(target, tf.sigmoid(logits), first), cases)
        examples = tf.cast(tf.shape(image)[0], tf.float64)
        entropy = tf.cast(losses.cross_entropy_loss(target, logits), tf.float64)
        # A replica without examples has a NaN mean; multiply_no_nan turns NaN times zero into zero.
        return (counts, tf.cast(losses.soft_dice_sums(target, logits), tf.float64),
                tf.cast(losses.example_dice_sums(target, logits), tf.float64),
                tf.math.multiply_no_nan(entropy, examples), examples)

    def run():
        sums = tuple(tf.zeros(shape, tf.float64) for shape in ((cases, 3), (2,), (2,), (), ()))
        for batch in iter(dataset):  # iterating over the dataset itself would run the net inside tf.data
            parts = strategy.run(on_replica, args=batch)
            sums = tuple(total + strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None)
                         for total, part in zip(sums, parts, strict=True))
        return sums

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # with several workers, TensorFlow warns about its own code
        run = tf.function(run).get_concrete_function()  # traced once; it has no arguments

    def score():
        counts, dice_sums, example_sums, entropy, examples = run()
        loss = (training.dice_weight * losses.soft_dice_loss_of(dice_sums)
                + training.example_dice_weight * losses.example_dice_loss_of(example_sums)
                + training.cross_entropy_weight * entropy / examples)
        return float(loss), float(metrics.dice_of_counts(counts.numpy()).mean())

    return score
