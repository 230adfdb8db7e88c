"""Saves and restores a run, so that it can be killed at any time and resumed.

The checkpoint contains the complete state: weights, optimizer, history, and the progress within an epoch. history.csv
and the weight files are derived from it after each epoch, and again when a run resumes after a complete epoch, in case
it was killed before they were written.

Only the first of several workers writes. The others hold the same values, but reading some of them (the batch
statistics of Keras 2) requires all workers, so every worker calls the same methods.
"""

import dataclasses
import json
import pathlib
import typing

import numpy as np
import tensorflow as tf

from kits_tf import models
from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.files.atomic import whole_file
from kits_tf.training import watching
from kits_tf.training.step import TrainStep, tf_variables
from kits_tf.training.task import Task

HDF5_OVERHEAD = 2048  # bytes per array beyond its data, slightly more than Keras 2 and 3 use


@dataclasses.dataclass
class Progress:
    """The progress of a run.

    Attributes:
        history: a list of dicts with watching.COLUMNS, one per completed epoch.
        steps: number of completed steps of the current epoch.
        sums: sums of the loss, overlap and size of these steps.
    """

    history: list = dataclasses.field(default_factory=list)
    steps: int = 0
    sums: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> typing.Self:
        found = json.loads(text)
        if isinstance(found, list):  # older versions saved only the history
            found = {"history": found}
        return cls(**found | {"sums": tuple(found.get("sums", cls.sums))})


def save_weights(model: tf.keras.Model, path: str | pathlib.Path) -> None:
    """Writes the weights of a model to a file atomically."""
    with whole_file(path) as temporary:
        # HDF5 aborts the process if the disk is full. Writing zeros first reserves the space, or raises an error.
        temporary.write_bytes(bytes(sum(4 * weight.shape.num_elements() + HDF5_OVERHEAD
                                        for weight in tf_variables(model.weights))))
        model.save_weights(str(temporary))


def best_epoch(history: list[dict]) -> dict:
    """Returns the row with the highest validation Dice; the latest if several are equal."""
    return max(history, key=lambda row: (row["val_dice"], row["epoch"]))


def diverged(task: Task, what: str, else_do: str = "") -> InputError:
    """Returns the error for a run with non-finite values. The last checkpoint remains valid."""
    return InputError(f"{task.name}: the {what}; train with a lower --learning_rate into another --run_dir{else_do}")


class Checkpoints:
    """Saves and restores one training run in its folder.

    Args:
        folder: the stage's folder, as from runs.stage_folder.
        task: training.task.Task.
        step: training.step.TrainStep, whose variables are saved.
        writes: whether this worker writes.

    Attributes:
        model: copy on the CPU of the net that was validated last. Weight files are written from it, and it can be
            called without the other workers.
    """

    def __init__(self, folder: str | pathlib.Path, task: Task, step: TrainStep, writes: bool = True) -> None:
        self._folder, self._task, self._step, self._writes = pathlib.Path(folder), task, step, writes
        parts = {"weights": step.weights, "optimizer": tf_variables(step.optimizer.variables),
                 "average": step.average, "scale": step.scale}
        self._live = {name: variables for name, variables in parts.items() if variables}
        with tf.device("CPU:0"):
            self._copies = {name: [tf.Variable(variable.read_value(), trainable=False) for variable in variables]
                            for name, variables in self._live.items()}
            self._progress = tf.Variable("[]", dtype=tf.string, trainable=False)
            self.model = models.build(task.config, task.stage)
        # Track tf.Variables directly, because Keras 2 and 3 track Keras objects differently.
        state = tf.train.Checkpoint(history=self._progress, **self._copies)
        self._manager = tf.train.CheckpointManager(state, str(self._folder / "checkpoints"), max_to_keep=2)

    def restore(self) -> Progress:
        """Restores the latest checkpoint, if there is one. If it ends an epoch, the epoch's files are rewritten.

        Returns:
            Progress; empty if there is no checkpoint.

        Raises:
            InputError: if the checkpoint cannot be read, or belongs to another net.
        """
        latest = self._manager.latest_checkpoint
        if latest is None:
            return Progress()
        try:
            self._manager.checkpoint.restore(latest).assert_existing_objects_matched()
            progress = Progress.from_json(self._progress.numpy())
        except (tf.errors.OpError, AssertionError, ValueError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{latest}: cannot be read ({reason}); delete {self._folder} to start over") from error
        _copy(self._copies, self._live)
        if progress.history and not progress.steps:
            self._publish(progress.history)
        return progress

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
        self._progress.assign(progress.to_json())
        steps = len(progress.history) * self._task.training.steps_per_epoch + progress.steps
        with watching.written_by_tensorflow(self._folder / "checkpoints"):
            self._manager.save(checkpoint_number=steps)
        if not progress.steps:
            self._publish(progress.history)

    def _publish(self, history):
        if not self._writes:
            return
        _assign(tf_variables(self.model.weights), self._copies.get("average", self._copies["weights"]))
        save_weights(self.model, self._folder / runs.LAST)
        if best_epoch(history) is history[-1]:
            save_weights(self.model, self._folder / runs.BEST)
        watching.write_history(self._folder, history)


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _copy(sources, targets):
    for name, variables in sources.items():
        _assign(targets[name], [variable.read_value() for variable in variables])
