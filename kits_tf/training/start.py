"""What a net starts from where not from fresh weights: tumor2d, if `start_from_fine` says so, from the fine net's.

Both see the same crops, and fine has learned from all of them what is kidney, fat and bowel; of tumors there are few.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kits_tf import models
from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.training.step import TrainStep, tf_variables
from kits_tf.training.task import Task

FRESH = "logits"  # the layer that says what is sought


def origin(task: Task, run_dir: str | pathlib.Path) -> pathlib.Path | None:
    """The fine net's best weights of the task's fold, if it starts from them; they need not be there yet."""
    if task.stage != "tumor2d" or not task.config.tumor2d.start_from_fine:
        return None
    return runs.stage_folder(run_dir, "fine", task.fold) / runs.BEST


def check(task: Task, run_dir: str | pathlib.Path, before: Sequence[Task] = ()) -> None:
    """Makes sure that what a task starts from is there, or will be made by one of the tasks before it.

    Raises:
        InputError: if the fine net is not trained, or is of another shape.
    """
    weights = origin(task, run_dir)
    begun = tf.train.latest_checkpoint(str(runs.stage_folder(run_dir, task.stage, task.fold) / "checkpoints"))
    if not weights or begun:
        return
    coming = next((other.config for other in before if (other.stage, other.fold) == ("fine", task.fold)), None)
    if not coming and not weights.exists():
        raise InputError(f"{task.name}: starts from the weights of the fine net, which is not trained ({weights}: no "
                         f"such file); train it first: python train.py --stage=fine --fold={task.fold} "
                         f"--run_dir={run_dir}; or give --nostart_from_fine")
    net = (coming or runs.load_config(weights.parent)).fine.net
    if net != task.config.tumor2d.net:
        raise InputError(f"{task.name}: starts from the weights of the fine net ({weights.parent}), but that is {net}, "
                         f"not {task.config.tumor2d.net}; make them alike, or give --nostart_from_fine")


def begin(step: TrainStep, weights: pathlib.Path) -> None:
    """Puts the fine net's weights into a fresh step's net. The last layer stays fresh, and so does what the first has
    for the kidney mask, which fine does not see.

    Args:
        step: training.step.TrainStep of tumor2d.
        weights: the fine net's, as `origin`.

    Raises:
        InputError: if they cannot be read.
    """
    fine = models.load(runs.load_config(weights.parent), "fine", weights)
    for layer in step.model.layers:
        if layer.name == FRESH:
            continue
        for variable, value in zip(tf_variables(layer.weights), fine.get_layer(layer.name).get_weights(), strict=True):
            if value.shape != variable.shape:  # the first kernel: y, x, channels in, channels out
                value = np.concatenate([value, variable.numpy()[:, :, value.shape[2]:]], axis=2)
            variable.assign(value)
    for mean, weight in zip(step.average, step.weights, strict=False):
        mean.assign(weight.read_value())
