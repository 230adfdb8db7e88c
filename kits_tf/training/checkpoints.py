"""Saves and restores a run, so that it can be killed at any time and resumed.

The checkpoint contains the complete state: weights, optimizer, best weights, history, and the progress within an
epoch. history.csv and the weight files are derived from it after each epoch, and again when a run resumes, in case it
was killed before they were written. The last two checkpoints are kept, in case the newest is damaged.

Only the first of several workers writes. The others hold the same values, but reading some of them (the batch
statistics of Keras 2) requires all workers, so every worker calls the same methods.
"""

import dataclasses
import itertools
import json
import pathlib

import numpy as np
import tensorflow as tf

from kits_tf import models
from kits_tf.errors import one_line
from kits_tf.files import runs
from kits_tf.files.atomic import whole_file
from kits_tf.quiet import warn
from kits_tf.training import watching
from kits_tf.training.failures import diverged, no_checkpoint, written_by_tensorflow
from kits_tf.training.progress import Progress
from kits_tf.training.step import TrainStep, tf_variables
from kits_tf.training.task import Run

HDF5_OVERHEAD = 2048  # bytes per array beyond its data, slightly more than Keras 2 and 3 use


def save_weights(model: tf.keras.Model, path: str | pathlib.Path) -> None:
    """Writes the weights of a model to a file atomically."""
    with whole_file(path) as temporary:
        # HDF5 aborts the process if the disk is full. Writing zeros first reserves the space, or raises an error.
        temporary.write_bytes(bytes(sum(4 * weight.shape.num_elements() + HDF5_OVERHEAD
                                        for weight in tf_variables(model.weights))))
        model.save_weights(str(temporary))


class Checkpoints:
    """Saves and restores one training run in its folder.

    Args:
        step: training.step.TrainStep, whose variables are saved.
        writes: whether this worker writes.

    Attributes:
        model: copy on the CPU of the net that was validated last. Weight files are written from it, and it can be
            called without the other workers.
    """

    def __init__(self, run: Run, step: TrainStep, writes: bool = True) -> None:
        self._folder, self._task, self._writes = run.folder, run.task, writes
        parts = {"weights": step.weights, "optimizer": tf_variables(step.optimizer.variables),
                 "average": step.average, "scale": step.scale}
        self._live = {name: variables for name, variables in parts.items() if variables}
        with tf.device("CPU:0"):
            self._copies = {name: [tf.Variable(variable.read_value(), trainable=False) for variable in variables]
                            for name, variables in self._live.items()}
            self._best = [tf.Variable(variable, trainable=False) for variable in self._copies["weights"]]
            self._progress = tf.Variable("[]", dtype=tf.string, trainable=False)
            self.model = models.build(run.task.config, run.task.stage)
        # Track tf.Variables directly, because Keras 2 and 3 track Keras objects differently.
        self._state = tf.train.Checkpoint(history=self._progress, best=self._best, **self._copies)

    def restore(self) -> Progress:
        """Restores the newest whole checkpoint, if there is one, and rewrites the files that are derived from it.

        If history.csv has more epochs than that checkpoint, it and the weights are kept under other names.

        Returns:
            Progress; empty if nothing was saved yet. Without checkpoints, the history of a finished run.

        Raises:
            InputError: if checkpoints exist but none is whole, or if none exists though epochs were trained.
        """
        found, reasons = runs.checkpoints(self._folder), []
        for path in reversed(found):
            try:
                progress = self._read(path)
                break
            except Exception as error:  # TensorFlow raises IndexError, RuntimeError and others for damaged files
                reasons.append(f"{path}: cannot be read ({one_line(error)})")
        else:
            history = runs.load_history(self._folder)
            if not found and (runs.finished(history, self._task.training) or not runs.begun(self._folder)):
                return Progress(history)
            raise no_checkpoint(self._folder, *reasons[:1])
        _copy(self._copies, self._live)
        if self._writes:
            for reason in reasons:
                warn(f"{reason}; continuing from the one before it, {path.name}")
            self._keep_longer(progress)
            self._publish(progress)
        return progress

    def _read(self, path):
        """Reads a checkpoint into the copies; returns its progress."""
        has_best = any(name.startswith("best/") for name, _ in tf.train.list_variables(str(path)))
        state = self._state if has_best else tf.train.Checkpoint(history=self._progress, **self._copies)
        state.read(str(path)).assert_existing_objects_matched().expect_partial()
        progress = Progress(**json.loads(self._progress.numpy()))
        if progress.history and not has_best:  # of an older version, which kept the best weights in their file alone
            best = models.load(self._task.config, self._task.stage, self._folder / runs.BEST)
            _assign(self._best, tf_variables(best.weights))
        return progress

    def _keep_longer(self, progress):
        """Renames history and weights of more epochs than the progress has, which training would overwrite."""
        epochs, done = len(runs.load_history(self._folder)), len(progress.history)
        if epochs <= done:
            return
        kept = []
        for name in (runs.HISTORY, runs.BEST, runs.LAST):
            path = self._folder / name
            stem, *endings = name.split(".")
            more = itertools.chain([""], map(str, itertools.count(-2, -1)))  # "-2", "-3", ... if the name is taken
            names = (self._folder / ".".join([f"{stem}-of-{epochs}-epochs{number}", *endings]) for number in more)
            if path.exists():
                kept.append(next(free for free in names if not free.exists()))
                path.rename(kept[-1])
        warn(f"{self._folder}: {epochs} epochs were trained, but the newest whole checkpoint has {done}; continuing "
             f"from there, the results so far are kept as {', '.join(path.name for path in kept)}")

    def save(self, progress: Progress) -> None:
        """Saves a checkpoint; at the end of an epoch (`progress.steps` is 0) also history.csv and the weight files.

        Raises:
            InputError: if a weight is not finite; earlier checkpoints are kept.
            RunError: if the disk is full.
        """
        _copy(self._live, self._copies)
        if not all(np.isfinite(weight.numpy()).all() for weight in self._copies["weights"]):
            epoch = len(progress.history) + (progress.steps > 0)
            raise diverged(self._task, f"weights are no longer numbers in epoch {epoch}")
        if not self._writes:
            return
        if not progress.steps and runs.best_epoch(progress.history) is progress.history[-1]:
            _assign(self._best, self._shown())
        self._progress.assign(json.dumps(dataclasses.asdict(progress)))
        path = self._folder / "checkpoints" / f"ckpt-{progress.done(self._task.training)}"
        with written_by_tensorflow(path.parent):
            self._state.write(str(path))
        self._forget_before(path)
        self._publish(progress)

    def _forget_before(self, path):
        """Deletes all checkpoints older than the one before `path`."""
        found = runs.checkpoints(self._folder)
        for old in found[:max(0, found.index(path) - 1)]:
            for part in old.parent.glob(f"{old.name}.*"):
                part.unlink(missing_ok=True)

    def _shown(self):
        """Returns the weights to validate and publish: their moving average, if there is one."""
        return self._copies.get("average", self._copies["weights"])

    def _publish(self, progress):
        """Writes the weight files and history.csv."""
        if not self._writes or not progress.history:
            return
        _assign(tf_variables(self.model.weights), self._best)
        save_weights(self.model, self._folder / runs.BEST)
        if not progress.steps:  # otherwise the weights are those of the middle of an epoch
            _assign(tf_variables(self.model.weights), self._shown())
            save_weights(self.model, self._folder / runs.LAST)
        watching.write_history(self._folder, progress.history)


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _copy(sources, targets):
    for name, variables in sources.items():
        _assign(targets[name], [variable.read_value() for variable in variables])
