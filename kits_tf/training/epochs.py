"""Runs the training steps of an epoch: measures them, checks that the loss is finite, and stops on request."""

import collections
import math
import threading
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from kits_tf.training import watching
from kits_tf.training.checkpoints import Progress, diverged
from kits_tf.training.step import TrainStep
from kits_tf.training.task import Task


def distributed_batches(strategy: tf.distribute.Strategy, task: Task, first_step: int) -> Iterator:
    """Returns an iterator over a run's batches from a given step; each worker produces its own part of every batch."""
    def of_worker(context):
        part = (context.input_pipeline_id, context.num_input_pipelines)
        batches = task.training_batches(first_step, part)
        size = context.get_per_replica_batch_size(task.training.batch_size)
        return batches.rebatch(size, drop_remainder=True) if size * part[1] < task.training.batch_size else batches

    return iter(strategy.distribute_datasets_from_function(of_worker))


class Epochs:
    """Runs epochs of a task.

    The loss of a step is read after the next step has been queued, so that a GPU never waits for Python. On CPUs, where
    steps run synchronously, this makes no difference.

    Args:
        task: training.task.Task.
        strategy: tf.distribute.Strategy.
        step: training.step.TrainStep.
        first_step: step of the run to resume from; 0 for a new run.
        asked: threading.Event that requests a stop.

    Attributes:
        losses: the loss of each step of the latest `run`.
        input_waits: for each of these steps, the fraction of its time spent waiting for its batch.
    """

    def __init__(self, task: Task, strategy: tf.distribute.Strategy, step: TrainStep, first_step: int,
                 asked: threading.Event) -> None:
        self._task, self._strategy, self._step, self._asked = task, strategy, step, asked
        self._batches = distributed_batches(strategy, task, first_step)
        self._warm = False
        self.losses: list[float] = []
        self.input_waits: list[float] = []

    def run(self, progress: Progress, title: str) -> dict[str, float | None] | None:
        """Runs the remaining steps of an epoch, or stops early if a worker was asked to stop.

        Args:
            progress: checkpoints.Progress, updated in place.
            title: title of the progress bar.

        Returns:
            A dict with `loss`, `dice`, `samples_per_second` and `input_wait` (see watching.COLUMNS), or None if the run
            was asked to stop. The last two exclude the first step of this process, which builds the graph; they are
            None if there was no other step.

        Raises:
            InputError: if the loss is not finite; the message names the records of the batch.
        """
        training = self._task.training
        pending: collections.deque = collections.deque()  # (output of a step, records of its batch)
        self.losses, self.input_waits = [], []
        stop, steps, waited, spent = False, 0, 0.0, 0.0
        with watching.progress_bar(title, progress.steps, training.steps_per_epoch) as bar:
            while progress.steps + len(pending) < training.steps_per_epoch and not stop:
                began = time.perf_counter()
                image, target, record = next(self._batches)
                got = time.perf_counter()
                pending.append((self._step(image, target, self._asked.is_set()), record))
                if len(pending) > 1:
                    stop = self._settle(progress, *pending.popleft())
                took = time.perf_counter() - began
                self.input_waits.append((got - began) / took)
                if self._warm:
                    steps, waited, spent = steps + 1, waited + got - began, spent + took
                self._warm = True
                if progress.steps and steps:
                    loss, dice = _means(progress)
                    bar.set_postfix_str(f"loss {loss:.4f}, Dice {dice:.3f}, "
                                        f"{_rate(steps * training.batch_size, spent):.0f} samples/s", refresh=False)
                bar.update()
            while pending:
                stop |= self._settle(progress, *pending.popleft())
        if stop:
            return None
        loss, dice = _means(progress)
        return {"loss": loss, "dice": dice, "samples_per_second": _rate(steps * training.batch_size, spent),
                "input_wait": _rate(waited, spent)}

    def _settle(self, progress, told, record):
        """Adds the output of a step to the progress; returns whether a worker had been asked to stop."""
        loss, overlap, size, stop = (float(value) for value in told.numpy())
        if not math.isfinite(loss):
            task = self._task
            records = np.concatenate(self._strategy.experimental_local_results(record))
            names = ", ".join(f"{task.train[case].stem} from ({z}, {y}, {x})" for case, z, y, x, _ in records)
            raise diverged(task, f"loss became {loss} in epoch {len(progress.history) + 1}",
                           f", or check the records of step {progress.steps + 1}: {names}")
        self.losses.append(loss)
        progress.steps += 1
        progress.sums = tuple(np.add(progress.sums, (loss, overlap, size)).tolist())
        return stop > 0


def _rate(amount, seconds):
    return amount / seconds if seconds else None


def _means(progress):
    """Returns the mean loss and the soft Dice over all voxels of the epoch so far."""
    loss, overlap, size = progress.sums
    return loss / max(progress.steps, 1), (2.0 * overlap + 1.0) / (size + 1.0)
