"""The training loop, to be read from top to bottom: a run (`train`), its epochs, and the steps of an epoch.

    step.py         one training step: loss, gradients and weight update, on all replicas
    scoring.py      loss and Dice on the validation cases
    checkpoints.py  saves a run and resumes it
    progress.py     progress bar and the lines that report a run
    watching.py     history.csv, its plot, TensorBoard events

Does not use Keras's `fit`, which fails on Keras 3 with several workers and offers neither Dice per case nor an exact
resume in the middle of an epoch.
"""

import collections
import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.files.lock import only_writer
from kits_tf.training import checks, schedule, scoring, start, watching, workers
from kits_tf.training.checkpoints import Checkpoints
from kits_tf.training.failures import StoppedError, diverged, explained
from kits_tf.training.progress import (
    Progress,
    Steps,
    after_epoch,
    already_trained,
    bar_of_epoch,
    beginning,
    ending,
    postfix,
    warn_of_weak_net,
)
from kits_tf.training.step import TrainStep
from kits_tf.training.task import Run, Task


def train(run: Run, strategy: tf.distribute.Strategy | None = None, compiled: bool = False,
          report: Callable[[str], object] = print) -> list[dict]:
    """Trains a stage to its last epoch. Resumes from the latest checkpoint if there is one.

    Args:
        run: training.task.Run. Several workers must share its folder, which is created.
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
    checks.check(run, strategy)
    task, run, writes = run.task, checks.as_begun(run), workers.writes(strategy)
    report = report if writes else lambda _: None
    added = len({*task.train, *task.held_out}) - len({*run.task.train, *run.task.held_out})
    if added:
        report(f"{task.name}: cases added since the run began, left out: {added}; to train on them, choose another "
               f"--run_dir")
    held = only_writer(run.folder, "--run_dir") if writes else contextlib.nullcontext()
    with _sigterm() as asked, held, explained(run):
        try:
            history = _train_epochs(run, strategy, compiled, report, asked)
        except StoppedError:
            workers.leave(strategy)
            raise
        workers.leave(strategy)
        return history


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


def _train_epochs(run, strategy, compiled, report, asked):
    """Trains the remaining epochs of a run; `asked` is set if it shall stop."""
    task, training, writes = run.task, run.task.training, workers.writes(strategy)
    if writes:
        checks.claim(run)
    with strategy.scope():
        step = TrainStep(task, strategy, compiled)
    if not writes:
        checks.check_folder(run)  # the chief has written it: creating the variables synchronizes all workers
    saved = Checkpoints(run, step, writes)
    progress = saved.restore()
    history, done = progress.history, progress.done(training)
    if not workers.agree(strategy, done):
        raise InputError(f"{run.folder}: the workers find different checkpoints there; give all one and the same "
                         f"--run_dir, on a disk that they share")
    if runs.finished(history, training):
        report(already_trained(run, history))
        if writes and not (run.folder / watching.PLOT).exists():
            watching.draw_history(run.folder, history)
        if asked.is_set():  # otherwise the next task would start
            raise StoppedError(f"{task.name}: stopped by SIGTERM; it was already trained")
        return history
    if not done:
        start.begin(run, step)
    report(beginning(run, progress))
    if writes:
        checks.prolong(run)

    validation = task.held_out_batches()
    score = scoring.scorer(strategy, step.net, task, validation)
    events = watching.Events(run, validation) if writes else None
    batches, learning_rate = distributed_batches(strategy, task, done), schedule.LearningRate(training)
    while not runs.finished(history, training):
        began, epoch = time.perf_counter(), len(history) + 1
        steps = train_epoch(step, batches, progress, asked)
        if steps is None:
            saved.save(progress)
            raise StoppedError(f"{task.name}: stopped by SIGTERM and saved in {run.folder} after "
                               f"{progress.reached(training)}; rerun the command to resume")
        trained = time.perf_counter()
        with step.averaged():
            val_loss, val_dice = score()
        task.check_unchanged()
        if not math.isfinite(val_loss):
            raise diverged(task, f"validation loss became {val_loss} in epoch {epoch}")
        history.append({
            "epoch": epoch, **progress.means(), "val_loss": val_loss, "val_dice": val_dice,
            **steps.rates(training.batch_size), "seconds": time.perf_counter() - began,
            "learning_rate": float(learning_rate(progress.done(training) - 1))})
        progress.steps, progress.sums = 0, (0.0, 0.0, 0.0)
        saved.save(progress)
        if events:
            events.write(history[-1], steps, progress.done(training), saved.model)
            warn_of_weak_net(task, history)
        report(after_epoch(task, history, time.perf_counter() - trained))
    if writes:
        watching.draw_history(run.folder, history)
    report(ending(run, history))
    if asked.is_set():
        raise StoppedError(f"{task.name}: stopped by SIGTERM after its last epoch")
    return history


def train_epoch(step: TrainStep, batches: Iterator, progress: Progress, asked: threading.Event) -> Steps | None:
    """Runs the remaining steps of an epoch, or fewer if a worker was asked to stop.

    The loss of a step is read after the next step has been queued, so that a GPU never waits for Python. On CPUs, where
    steps run synchronously, this makes no difference.

    Args:
        batches: the run's batches from here on, as from distributed_batches.
        progress: training.progress.Progress, updated in place.
        asked: is set if this worker shall stop; each step tells all workers.

    Returns:
        The measured steps; None if the run was asked to stop.

    Raises:
        InputError: if the loss is not finite; the message names the records of the batch.
    """
    training, steps = step.task.training, Steps(first_builds=not step.is_built)
    queued: collections.deque = collections.deque()  # (output of a step, records of its batch)
    stop = False
    with bar_of_epoch(step.task, progress) as bar:
        while progress.steps + len(queued) < training.steps_per_epoch and not stop:
            began = time.perf_counter()
            image, target, record = next(batches)
            got = time.perf_counter()
            queued.append((step(image, target, asked.is_set()), record))
            if len(queued) > 1:
                stop = _read_oldest(queued, step, progress, steps)
            steps.add(got - began, time.perf_counter() - began)
            bar.set_postfix_str(postfix(progress, steps, training.batch_size), refresh=False)
            bar.update()
        while queued:
            stop |= _read_oldest(queued, step, progress, steps)
    return None if stop else steps


def _read_oldest(queued, step, progress, steps):
    """Adds the output of the oldest queued step to the progress; returns whether a worker had been asked to stop."""
    told, record = queued.popleft()
    loss, overlap, size, stop = (float(value) for value in told.numpy())
    if not math.isfinite(loss):
        records = np.concatenate(step.strategy.experimental_local_results(record))
        names = ", ".join(f"{step.task.train[case].stem} from ({z}, {y}, {x})" for case, z, y, x, _ in records)
        raise diverged(step.task, f"loss became {loss} in epoch {len(progress.history) + 1}",
                       f", or check the records of step {progress.steps + 1}: {names}")
    steps.losses.append(loss)
    progress.steps += 1
    progress.sums = tuple(np.add(progress.sums, (loss, overlap, size)).tolist())
    return stop > 0


def distributed_batches(strategy: tf.distribute.Strategy, task: Task, first_step: int) -> Iterator:
    """Returns an iterator over a run's batches from a given step; each worker produces its own part of every batch."""
    def of_worker(context):
        part = (context.input_pipeline_id, context.num_input_pipelines)
        batches = task.training_batches(first_step, part)
        size = context.get_per_replica_batch_size(task.training.batch_size)
        return batches.rebatch(size, drop_remainder=True) if size * part[1] < task.training.batch_size else batches

    return iter(strategy.distribute_datasets_from_function(of_worker))
