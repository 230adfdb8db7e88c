"""A run that can be killed at any time and goes on from its last whole epoch.

The checkpoint holds everything: weights, optimizer and history. It is the one truth; history.csv and the weight files
are written from it after each epoch, and again when a run resumes, in case it was killed in between.
"""

import csv
import io
import json
import os
import pathlib

import tensorflow as tf

from kits_tf import runs
from kits_tf.volume import InputError

COLUMNS = ("epoch", "loss", "val_loss", "val_dice", "samples_per_second", "seconds", "learning_rate")


def _tf_variable(variable):
    return variable if isinstance(variable, tf.Variable) else variable.value  # Keras 3 wraps them


def save_weights(model, path):
    """Writes a model's weights, whole or not at all."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # Keras insists on the ending
    try:
        model.save_weights(str(temporary))
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def best_epoch(history):
    """The row with the highest Dice on held-out cases, the later one of equals; None without rows."""
    return max(history, key=lambda row: (row["val_dice"], row["epoch"]), default=None)


class Checkpoints:
    """Saves and restores one training run in its folder."""

    def __init__(self, folder, model, optimizer):
        self._folder = pathlib.Path(folder)
        self._model = model
        self._history = tf.Variable("[]", dtype=tf.string, trainable=False)
        # The variables themselves: tracking Keras objects differs between Keras 2 and 3.
        state = tf.train.Checkpoint(weights=[_tf_variable(weight) for weight in model.weights],
                                    optimizer=[_tf_variable(variable) for variable in optimizer.variables],
                                    history=self._history)
        self._manager = tf.train.CheckpointManager(state, str(self._folder / "checkpoints"), max_to_keep=2)

    def restore(self):
        """Goes back to the last saved epoch, if there is one.

        Returns:
            The history: a list of dicts with COLUMNS, one per finished epoch.

        Raises:
            InputError: if the checkpoint cannot be read, or is another net's.
        """
        latest = self._manager.latest_checkpoint
        if latest is None:
            return []
        try:
            self._manager.checkpoint.restore(latest).assert_existing_objects_matched()
            history = json.loads(self._history.numpy())
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{latest}: cannot be read ({reason}); delete {self._folder} to train anew") from error
        self._publish(history)
        return history

    def save(self, history):
        """Saves an epoch that has just ended; `history` has its row."""
        self._history.assign(json.dumps(history))
        self._manager.save(checkpoint_number=len(history))
        self._publish(history)

    def _publish(self, history):
        save_weights(self._model, self._folder / runs.LAST)
        if best_epoch(history) is history[-1]:
            save_weights(self._model, self._folder / runs.BEST)
        table = io.StringIO()
        writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in history)
        runs.write_text(self._folder / runs.HISTORY, table.getvalue())
