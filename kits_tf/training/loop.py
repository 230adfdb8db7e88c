"""The training loop: epochs of steps on one device or several, then Dice on the held-out cases.

Not Keras's `fit`: with several workers it fails on Keras 3, and we want Dice per case and batches that resume exactly.
"""

import functools
import math
import time

import tensorflow as tf
import tqdm

from kits_tf import losses, metrics, runs
from kits_tf.training import checkpoints, folder, schedule
from kits_tf.volume import InputError


def default_strategy():
    """One device, or a copy of the net on every visible GPU if there are several."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def train(task, run_dir, strategy=None, report=print):
    """Trains a stage to its last epoch; goes on where an earlier, killed call stopped.

    Args:
        task: training.stages.Task.
        run_dir: the run folder; the stage's own folder is made inside it.
        strategy: tf.distribute.Strategy; None for `default_strategy`.
        report: called with one line of text at the start, after every epoch and at the end.

    Returns:
        The history: a list of dicts with checkpoints.COLUMNS, one per epoch.

    Raises:
        InputError: if the run folder belongs to another run, or the loss is no longer a number.
    """
    strategy = strategy or default_strategy()
    place = runs.stage_folder(run_dir, task.stage, task.fold)
    folder.claim(place, task)
    name = f"{task.stage} fold {task.fold}"
    epochs = task.training.epochs
    with strategy.scope():
        model, net, optimizer = task.build()
    saved = checkpoints.Checkpoints(place, model, optimizer)
    history = saved.restore()
    if len(history) >= epochs:
        best = checkpoints.best_epoch(history)
        report(f"{name}: already trained, {epochs} epochs, best Dice {best['val_dice']:.3f} in {place}")
        return history
    start = f"goes on after epoch {len(history)} of {epochs}" if history else f"{epochs} epochs"
    report(f"{name}: {start}, {len(task.train)} cases to train on, {len(task.held_out)} held out, in {place}")

    step = _train_step(strategy, net, optimizer, task.loss())
    score = _score(strategy, net, task)
    batches = iter(strategy.experimental_distribute_dataset(task.training_batches(first_epoch=len(history))))
    rate_at = schedule.polynomial(task.training)
    events = tf.summary.create_file_writer(str(place / "events"))
    for epoch in range(len(history) + 1, epochs + 1):
        began = time.perf_counter()
        loss, rate, warm_up = _run_epoch(step, batches, task.training, f"{name} epoch {epoch}/{epochs}")
        if not math.isfinite(loss):
            raise InputError(f"{name}: the loss became {loss} in epoch {epoch}; train with a lower learning_rate")
        val_loss, val_dice = score()
        seconds = time.perf_counter() - began
        history.append({
            "epoch": epoch, "loss": loss, "val_loss": val_loss, "val_dice": val_dice, "samples_per_second": rate,
            "seconds": seconds, "learning_rate": float(rate_at(epoch * task.training.steps_per_epoch - 1)),
        })
        saved.save(history)
        _write_events(events, history[-1])
        left = (epochs - epoch) * (time.perf_counter() - began - warm_up)
        report(f"{name}  epoch {epoch}/{epochs}  loss {loss:.4f}  held out: loss {val_loss:.4f}, Dice {val_dice:.3f}  "
               f"{rate:.0f} samples/s  {_duration(left)} left")
    best = checkpoints.best_epoch(history)
    report(f"{name}: trained, best Dice {best['val_dice']:.3f} after epoch {best['epoch']}, in {place}")
    return history


def _write_events(events, row):
    """Writes a row of the history for TensorBoard, which need not be installed: tf.summary.scalar would ask for it."""
    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"), data_class="DATA_CLASS_SCALAR")
    with events.as_default(step=row["epoch"]):
        for column in checkpoints.COLUMNS[1:]:
            tf.summary.write(column, tf.constant(row[column], tf.float32), metadata=metadata)
    events.flush()


def _duration(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def _run_epoch(step, batches, training, title):
    """Runs an epoch's steps.

    Returns:
        (mean loss, examples per second, seconds of the first step). The first step is not in the rate: in the first
        epoch it traces the graph and waits for the shuffle buffer.
    """
    began = time.perf_counter()
    total = step(*next(batches)).numpy()  # .numpy() waits for the device
    warm = time.perf_counter()
    for _ in tqdm.trange(1, training.steps_per_epoch, desc=title, leave=False, disable=None):
        total += step(*next(batches))
    total = float(total)
    ended = time.perf_counter()
    steps = training.steps_per_epoch - 1
    rate = steps * training.batch_size / (ended - warm) if steps else training.batch_size / (warm - began)
    return total / training.steps_per_epoch, rate, warm - began


def _train_step(strategy, net, optimizer, loss_of):
    """A function of one batch that improves the net and returns the batch's loss."""
    replicas = strategy.num_replicas_in_sync

    def on_replica(image, target):
        total = tf.identity
        if replicas > 1:
            total = functools.partial(tf.distribute.get_replica_context().all_reduce, tf.distribute.ReduceOp.SUM)
        with tf.GradientTape() as tape:
            # The optimizer adds up the replicas' gradients, so that each owes its share of the loss.
            loss = loss_of(target, net(image, training=True), total=total) / replicas
        gradients = tape.gradient(loss, net.trainable_variables)
        optimizer.apply_gradients(zip(gradients, net.trainable_variables, strict=True))
        return loss

    @tf.function
    def step(image, target):
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(on_replica, args=(image, target)), axis=None)

    return step


def _score(strategy, net, task):
    """A function that returns the loss of all held-out examples, as if they were one batch, and the mean case Dice."""
    dataset = strategy.experimental_distribute_dataset(task.held_out_batches())
    cases, training = len(task.held_out), task.training

    def on_replica(image, target, case):
        logits = net(image, training=False)
        counts = metrics.sum_per_case(case, metrics.overlap_counts(target, tf.sigmoid(logits)), cases)
        examples = tf.cast(tf.shape(image)[0], tf.float64)
        entropy = tf.cast(losses.cross_entropy_loss(target, logits), tf.float64)
        # A replica that is left without an example has no mean; nought times that is nought here.
        return (counts, tf.cast(losses.soft_dice_sums(target, logits), tf.float64),
                tf.cast(losses.example_dice_sums(target, logits), tf.float64),
                tf.math.multiply_no_nan(entropy, examples), examples)

    def run():
        sums = tuple(tf.zeros(shape, tf.float64) for shape in ((cases, 3), (2,), (2,), (), ()))
        for batch in iter(dataset):  # over the dataset itself, TensorFlow would run the net inside tf.data
            parts = strategy.run(on_replica, args=batch)
            sums = tuple(total + strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None)
                         for total, part in zip(sums, parts, strict=True))
        return sums

    run = tf.function(run).get_concrete_function()  # traced once; it has no arguments

    def score():
        counts, dice_sums, example_sums, entropy, examples = run()
        loss = (training.dice_weight * losses.soft_dice_loss_of(dice_sums)
                + training.example_dice_weight * losses.example_dice_loss_of(example_sums)
                + training.cross_entropy_weight * entropy / examples)
        return float(loss), float(metrics.dice_of_counts(counts.numpy()).mean())

    return score
