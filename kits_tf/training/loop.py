"""The training loop: trains epoch after epoch on one or several devices and validates after each.

Does not use Keras's `fit`, which fails on Keras 3 with several workers and offers neither Dice per case nor an exact
resume in the middle of an epoch.
"""

import contextlib
import math
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Sequence

import tensorflow as tf

from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.files.lock import only_writer
from kits_tf.inputs import sampling
from kits_tf.quiet import warn
from kits_tf.training import checkpoints, folder, schedule, scoring, start, watching, workers
from kits_tf.training.epochs import Epochs
from kits_tf.training.step import TrainStep
from kits_tf.training.task import Task, bfloat16_trouble


class StoppedError(Exception):
    """Raised after SIGTERM, once the state of the run is saved."""


def train(task: Task, run_dir: str | pathlib.Path, strategy: tf.distribute.Strategy | None = None,
          compiled: bool = False, report: Callable[[str], object] = print) -> list[dict]:
    """Trains a stage to its last epoch. Resumes from the latest checkpoint if there is one.

    Args:
        task: training.task.Task.
        run_dir: the run folder, in which the stage's folder is created. Several workers must share it.
        strategy: tf.distribute.Strategy; None for workers.strategy("auto").
        compiled: whether XLA compiles the step.
        report: called with one line of text at the start, after every epoch and at the end, by the worker that writes.

    Returns:
        The history: a list of dicts with watching.COLUMNS, one per epoch.

    Raises:
        InputError: if the run folder belongs to another run or is in use, the loss is not finite, the batch cannot be
            split evenly, the fine net to start from is missing, a shard cannot be read, or memory runs out.
        RunError: if the disk is full.
        StoppedError: after SIGTERM; the current step was completed and saved.
    """
    strategy = strategy or workers.strategy()
    check(task, run_dir, strategy)
    place, writes = runs.stage_folder(run_dir, task.stage, task.fold), workers.writes(strategy)
    asked_for, task = task, folder.as_begun(place, task)
    added = len({*asked_for.train, *asked_for.held_out}) - len({*task.train, *task.held_out})
    if added and writes:
        report(f"{task.name}: leaves out {added} cases that were added since it began; another --run_dir takes them in")
    origin = start.origin(task, run_dir)
    held = only_writer(place, "--run_dir") if writes else contextlib.nullcontext()
    with workers.Watch(strategy) as watch, _sigterm() as asked, held:
        try:
            history = _train(task, place, origin, strategy, compiled, report if writes else _silent, asked)
            watch.leave()
            return history
        except StoppedError:
            watch.leave()
            raise
        except tf.errors.ResourceExhaustedError as error:
            raise _out_of_memory(task, place, origin) from error
        except (tf.errors.DataLossError, tf.errors.NotFoundError, UnicodeDecodeError) as error:
            # TensorFlow's error does not name the file. Reading all shards again does, if a file is damaged.
            sampling.count_kinds((*task.train, *task.held_out))
            raise InputError(f"{task.name}: a record could not be read ({type(error).__name__}), but a second read "
                             f"succeeded; check the disk, then rerun the command") from error


def check(task: Task, run_dir: str | pathlib.Path, strategy: tf.distribute.Strategy,
          before: Sequence[Task] = ()) -> None:
    """Checks a task before training. Call it for all tasks before the first one starts, which may take days.

    Args:
        task: training.task.Task.
        run_dir: the run folder.
        strategy: tf.distribute.Strategy.
        before: tasks that are trained before this one.

    Raises:
        InputError: if the task's folder belongs to another run, the batch cannot be split evenly, or the fine net to
            start from is neither trained nor among the tasks before.
    """
    place, replicas = runs.stage_folder(run_dir, task.stage, task.fold), strategy.num_replicas_in_sync
    if task.training.batch_size % replicas:
        another = "" if runs.begun(place) else ", or choose another --batch_size"
        raise InputError(f"{task.name}: a batch of {task.training.batch_size} cannot be divided among {replicas} "
                         f"replicas; train on one device with --strategy=one{another}")
    task = folder.as_begun(place, task)
    folder.check_if_begun(place, task)
    folder.check_cases(task, run_dir)
    start.check(task, run_dir, before)


def _out_of_memory(task, place, origin):
    """Returns the error for a run that needs more memory. All that it advises can be done."""
    training, net = task.training, task.config.stage(task.stage).net
    width = net.filters[0] if task.stage == "tumor3d" else net.base_filters
    ways = [f"a lower --batch_size (now {training.batch_size})"] if training.batch_size > 1 else []
    if width > 1 and not origin:  # the weights to start from fit this width alone
        ways.append(f"a lower --base_filters (now {width})")
    if task.precision == "float32" and not bfloat16_trouble(task.config, task.stage):
        ways.append("--precision=mixed_bfloat16, which halves what the net keeps")
    moved = f"; since the run has begun, move {place} away first" if runs.begun(place) else ""
    if not ways:
        return InputError(f"{task.name}: out of memory, even with a batch of 1; train on a machine with more")
    return InputError(f"{task.name}: out of memory; give --stage={task.stage} with {' or '.join(ways)}{moved}; then "
                      f"train the other stages by their --stage")


def _silent(_):
    pass


@contextlib.contextmanager
def _sigterm():
    """Yields an event that SIGTERM sets instead of ending the process.

    Python handles signals in the main thread only; in other threads the event stays unset.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    usual = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, usual)


def _train(task, place, origin, strategy, compiled, report, asked):
    training, writes, name = task.training, workers.writes(strategy), task.name
    if writes:
        folder.claim(place, task)
    with strategy.scope():
        step = TrainStep(task, strategy, compiled)
    if not writes:
        folder.check(place, task)  # the chief has written it: creating the variables synchronizes all workers
    saved = checkpoints.Checkpoints(place, task, step, writes)
    progress = saved.restore()
    history, epochs = progress.history, training.epochs
    done = len(history) * training.steps_per_epoch + progress.steps
    if not workers.agree(strategy, done):
        raise InputError(f"{place}: the workers find different checkpoints there; give all one and the same --run_dir, "
                         f"on a disk that they share")
    if runs.finished(history, training):
        best = runs.best_epoch(history)
        early = f" of {epochs}, stopped early by a patience of {training.patience}" if len(history) < epochs else ""
        report(f"{name}: already trained, {len(history)} epochs{early}, best Dice {best['val_dice']:.3f} in {place}")
        if writes and not (place / watching.PLOT).exists():
            watching.draw_history(place, history)
        if asked.is_set():  # otherwise the next task would start
            raise StoppedError(f"{name}: stopped by SIGTERM; it was already trained")
        return history
    if origin and not done:
        start.begin(task, step, origin)
    begins = f"{epochs} epochs, starting from {'the fine net' if not task.start_from else origin}'s weights"
    begins = begins if origin else f"{epochs} epochs"
    begins = f"resumes after {_reached(progress, training)}" if done else begins
    begins += _prolong(place, task, done, writes)
    report(f"{name}: {begins}, {len(task.train)} training cases, {len(task.held_out)} validation cases, in {place}")

    held_out = task.held_out_batches()
    score = scoring.scorer(strategy, step.net, task, held_out)
    steps = Epochs(task, strategy, step, done, asked)
    events = watching.Events(place, task, held_out) if writes else None
    rate_at = schedule.LearningRate(training)
    while not runs.finished(history, training):
        began, epoch = time.perf_counter(), len(history) + 1
        found = steps.run(progress, f"{name} epoch {epoch}/{epochs}")
        if found is None:
            saved.save(progress)
            raise StoppedError(f"{name}: stopped by SIGTERM and saved in {place} after {_reached(progress, training)}; "
                               f"rerun the command to resume")
        trained = time.perf_counter()
        with step.averaged():
            val_loss, val_dice = score()
        task.check_unchanged()
        if not math.isfinite(val_loss):
            raise checkpoints.diverged(task, f"validation loss became {val_loss} in epoch {epoch}")
        history.append(found | {
            "epoch": epoch, "val_loss": val_loss, "val_dice": val_dice, "seconds": time.perf_counter() - began,
            "learning_rate": float(rate_at(epoch * training.steps_per_epoch - 1))})
        progress.steps, progress.sums = 0, (0.0, 0.0, 0.0)
        saved.save(progress)
        if events:
            events.write(history[-1], {"loss": steps.losses, "input_wait": steps.input_waits},
                         epoch * training.steps_per_epoch, saved.model)
        if writes and watching.collapsed(history) and not watching.collapsed(history[:-1]):
            warn(f"{name}: Dice {val_dice:.3f} on the held-out cases after each of the last {watching.SEVERAL} epochs: "
                 f"the net gives the same answer everywhere; if it still does some epochs later, train this stage with "
                 f"a lower --learning_rate into another --run_dir")
        samples = training.steps_per_epoch * training.batch_size
        rate = found["samples_per_second"]
        measured = "" if rate is None else (
            f"  {rate:.0f} samples/s, {found['input_wait']:.1%} of it waiting for input  "
            f"{watching.duration((epochs - epoch) * (samples / rate + time.perf_counter() - trained))} left")
        report(f"{name}  epoch {epoch}/{epochs}  loss {found['loss']:.4f}  validation: loss {val_loss:.4f}, Dice "
               f"{val_dice:.3f}{measured}")
    best = runs.best_epoch(history)
    if writes:
        watching.draw_history(place, history)
        if runs.found_nothing(history):
            warn(f"{name}: its best Dice is {best['val_dice']:.3f}: this net has learned to find nothing")
    outcome = "trained" if len(history) == epochs else f"stopped early after {len(history)} epochs"
    report(f"{name}: {outcome}, best Dice {best['val_dice']:.3f} after epoch {best['epoch']}, in {place}")
    if asked.is_set():
        raise StoppedError(f"{name}: stopped by SIGTERM after its last epoch")
    return history


def _prolong(place, task, done, writes):
    """Notes more epochs than the run in a folder was to have; returns a phrase about them, or nothing."""
    config = runs.load_config(place)
    before = config.stage(task.stage).training
    if before.epochs >= task.training.epochs:
        return ""
    if writes:
        runs.save_config(place, task.config)
    now, then = (float(schedule.LearningRate(training)(done)) for training in (task.training, before))
    return (f" (before: {before.epochs}; the learning rate now falls to zero over all {task.training.epochs} epochs, "
            f"and is {now:.3g} here in place of {then:.3g})")


def _reached(progress, training):
    """Describes the progress, as "epoch 3 of 10" or "epoch 3 of 10 and 17 of the next one's 50 steps"."""
    more = f" and {progress.steps} of {training.steps_per_epoch} steps of the next" if progress.steps else ""
    return f"epoch {len(progress.history)} of {training.epochs}{more}"
