"""Warm-starts tumor2d from the weights of the fine net, if `start_from_fine` is set.

Both nets see the same crops. The fine net has learned kidney, fat and bowel from all of them, while few crops contain
a tumor.
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

FRESH = "logits"  # the output layer keeps its random initialization: its target differs


def origin(task: Task, run_dir: str | pathlib.Path) -> pathlib.Path | None:
    """Returns the path of the fine net's best weights for the task's fold, or None if the task does not use them.

    The file need not exist yet.
    """
    if task.stage != "tumor2d" or not task.config.tumor2d.start_from_fine:
        return None
    return runs.stage_folder(run_dir, "fine", task.fold) / runs.BEST


def check(task: Task, run_dir: str | pathlib.Path, before: Sequence[Task] = ()) -> None:
    """Checks that the fine net's weights exist, or that an earlier task will train them.

    Skipped if the task has a checkpoint already or does not start from the fine net.

    Args:
        task: training.task.Task.
        run_dir: the run folder.
        before: tasks that are trained before this one.

    Raises:
        InputError: if the fine net is not trained, or its architecture differs.
    """
    weights = origin(task, run_dir)
    begun = tf.train.latest_checkpoint(str(runs.stage_folder(run_dir, task.stage, task.fold) / "checkpoints"))
    if not weights or begun:
        return
    coming = next((other.config for other in before if (other.stage, other.fold) == ("fine", task.fold)), None)
    if not coming and not weights.exists():
        raise InputError(f"{task.name}: needs the weights of the fine net, which is not trained ({weights}: no "
                         f"such file); train it first: python train.py --stage=fine --fold={task.fold} "
                         f"--run_dir={run_dir}; or give --nostart_from_fine")
    net = (coming or runs.load_config(weights.parent)).fine.net
    if net != task.config.tumor2d.net:
        raise InputError(f"{task.name}: cannot start from the fine net ({weights.parent}), which has {net}, "
                         f"not {task.config.tumor2d.net}; train both with the same net settings, or give "
                         f"--nostart_from_fine")


def begin(step: TrainStep, weights: pathlib.Path) -> None:
    """Copies the fine net's weights into a new step's net and its moving average.

    The last layer keeps its random initialization. So does the part of the first kernel that reads the kidney mask,
    which is not an input of the fine net.

    Args:
        step: training.step.TrainStep of tumor2d.
        weights: path of the fine net's weights, from `origin`.

    Raises:
        InputError: if the weights cannot be read.
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
