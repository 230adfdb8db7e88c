"""The errors of a training, each in one line that says what to do."""

import contextlib
import pathlib
import re
from collections.abc import Iterator

import tensorflow as tf

from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.files.atomic import cannot_write
from kits_tf.inputs import sampling
from kits_tf.training import workers
from kits_tf.training.task import Run, Task, bfloat16_trouble


class StoppedError(Exception):
    """Raised after SIGTERM, once the state of the run is saved."""


def diverged(task: Task, what: str, else_do: str = "") -> InputError:
    """Returns the error for a run with non-finite values. The last checkpoint remains valid."""
    rate = task.training.learning_rate
    return InputError(f"{task.name}: the {what}; train this stage with a lower --learning_rate (now {rate:g}), into "
                      f"another --run_dir or after moving its folder away{else_do}")


def no_checkpoint(folder: pathlib.Path, reason: str = "") -> InputError:
    """Returns the error for a folder in which epochs were trained, but from whose checkpoints no run can continue."""
    reason = reason or f"{folder / 'checkpoints'}: holds no checkpoint"
    return InputError(f"{reason}, though {folder} holds results of training; put its checkpoints back from a copy, or "
                      f"move {folder} away: the same command then starts from the beginning, or from its weights with "
                      f"--start_from")


@contextlib.contextmanager
def explained(run: Run) -> Iterator[None]:
    """Converts TensorFlow's errors for lost workers, exhausted memory and unreadable records to InputError."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        raise workers.lost(error) from error
    except tf.errors.ResourceExhaustedError as error:
        raise _out_of_memory(run) from error
    except (tf.errors.DataLossError, tf.errors.NotFoundError, UnicodeDecodeError) as error:
        # TensorFlow's error does not name the file. Reading all shards again does, if a file is damaged.
        sampling.count_kinds((*run.task.train, *run.task.held_out))
        raise InputError(f"{run.task.name}: a record could not be read ({type(error).__name__}), but a second read "
                         f"succeeded; check the disk, then rerun the command") from error


def _out_of_memory(run):
    """Returns the error for a run that needs more memory, with only those remedies that this run allows."""
    task, training, net = run.task, run.task.training, run.task.config.stage(run.task.stage).net
    width = net.filters[0] if task.stage == "tumor3d" else net.base_filters
    ways = [f"a lower --batch_size (now {training.batch_size})"] if training.batch_size > 1 else []
    if width > 1 and not run.origin:  # the weights to start from fit this width alone
        ways.append(f"a lower --base_filters (now {width})")
    if task.precision == "float32" and not bfloat16_trouble(task.config, task.stage):
        ways.append("--precision=mixed_bfloat16, which halves what the net keeps")
    moved = f"; since the run has begun, move {run.folder} away first" if runs.begun(run.folder) else ""
    if not ways:
        return InputError(f"{task.name}: out of memory, even with a batch of 1; train on a machine with more")
    return InputError(f"{task.name}: out of memory; give --stage={task.stage} with {' or '.join(ways)}{moved}; then "
                      f"train the other stages by their --stage")


@contextlib.contextmanager
def written_by_tensorflow(path: str | pathlib.Path) -> Iterator[None]:
    """Converts TensorFlow's file errors to RunError.

    TensorFlow reports a full disk with the same exception type as exhausted memory.
    """
    try:
        yield
    except tf.errors.OpError as error:
        reason = re.sub(r"\{\{.*?\}\}| \[Op:.*?\]", "", error.message).strip().splitlines()[0]
        raise cannot_write(path, reason) from error
