"""Starts a run from trained weights in place of random ones: given ones (--start_from), or tumor2d from the fine net.

Given weights must be those of the stage's own net. tumor2d may instead start from the fine net of the same fold
(`start_from_fine`): both see the same crops, and the fine net has learned kidney, fat and bowel from all of them, while
few contain a tumor.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from kits_tf import config as configs
from kits_tf import models
from kits_tf.errors import InputError
from kits_tf.files import exports, runs
from kits_tf.files.checksums import file_facts
from kits_tf.models import unfold
from kits_tf.quiet import warn
from kits_tf.training.step import TrainStep, tf_variables
from kits_tf.training.task import Run, Task
from kits_tf.weights import shipped_model

SHIPPED = "shipped"  # --start_from=shipped
FRESH = "logits"  # the output layer of tumor2d keeps its random initialization: its target is not the fine net's


def starting_from(run: Run, given: str | pathlib.Path) -> Run:
    """Returns the run with `start_from` set in its task; tumor2d then does not start from the fine net.

    A run that has begun does not need the file any more.

    Args:
        given: a weights file of the stage's net; an exported cascade; SHIPPED for the model that ships; or a folder
            with a file for each stage: <stage>/best.weights.h5 or, as in a run folder, <stage>/fold<k>/best.weights.h5.
            Of several folds the task's own is taken.

    Raises:
        InputError: if there are no such weights, or several files of them.
    """
    task = run.task
    begun = runs.load_identity(run.folder)["start_from"] if runs.begun(run.folder) else None
    if begun and begun["given"] == str(given) and not pathlib.Path(begun["file"]).exists():
        start_from = begun
    else:
        path = _find(task, pathlib.Path(given))
        other = next((name for name in path.parts[-3:-1] if name in configs.STAGES), task.stage)
        if other != task.stage:
            warn(f"{task.name}: starts from {path}, which seems to be the {other} net; give the {task.stage} net's "
                 f"weights if that is a mistake")
        start_from = {"given": str(given), "file": str(path),
                      **(file_facts(path) or {"sha256": exports.export_digest(path)}),
                      "cases": runs.seen(runs.load_identity(path.parent))}
    tumor2d = dataclasses.replace(task.config.tumor2d, start_from_fine=False)
    config = dataclasses.replace(task.config, tumor2d=tumor2d)
    return dataclasses.replace(run, task=dataclasses.replace(task, start_from=start_from, config=config))


def _find(task, given):
    """Returns the path of a weights file, or of a version folder of an export."""
    if str(given) == SHIPPED:
        return shipped_model()
    if given.is_file():
        return given
    if (given / "saved_model.pb").exists() or exports.versions(given):
        return exports.find_export(given)
    own = runs.stage_folder(given, task.stage, task.fold) / runs.BEST
    found = [own] if own.is_file() else sorted([*given.glob(f"{task.stage}/{runs.BEST}"),
                                                *given.glob(f"{task.stage}/fold*/{runs.BEST}")])
    if len(found) == 1:
        return found[0]
    what = "no such file or folder" if not given.exists() else (
        f"holds {'several' if found else 'no'} weights of the {task.stage} net and none of fold {task.fold}")
    raise InputError(f"--start_from={given}: {what}; give a weights file, an export, or a folder that has "
                     f"{task.stage}/{runs.BEST} or, as a run folder, {task.stage}/fold{task.fold}/{runs.BEST}")


def check(run: Run, before: Sequence[Task] = ()) -> None:
    """Checks that the weights to start from exist and fit, or that an earlier task will train them.

    Skipped if the task has a checkpoint already or starts from random weights.

    Args:
        before: tasks that are trained before this one.

    Raises:
        InputError: if the fine net is not trained, the architecture differs, or the weights cannot be read.
    """
    task, weights = run.task, run.origin
    if not weights or runs.begun(run.folder):
        return
    if task.start_from:
        _load(task, weights)
        return
    coming = next((other.config for other in before if (other.stage, other.fold) == ("fine", task.fold)), None)
    if not coming and not weights.exists():
        raise InputError(f"{task.name}: needs the weights of the fine net, which is not trained ({weights}: no "
                         f"such file); train it first: the same command with --stage=fine; or give "
                         f"--nostart_from_fine")
    net = (coming or runs.load_config(weights.parent)).fine.net
    if net != task.config.tumor2d.net:
        raise InputError(f"{task.name}: cannot start from the fine net ({weights.parent}), which has {net}, "
                         f"not {task.config.tumor2d.net}; train both with the same net settings, or give "
                         f"--nostart_from_fine")


def _load(task, weights):
    """Returns the task's net with given weights. Raises InputError if they belong to another net."""
    exported = weights.is_dir()
    settings = weights / "assets" / runs.CONFIG if exported else weights.parent / runs.CONFIG
    if settings.exists():  # its settings say better what differs than the shapes of arrays do
        net, own = (dataclasses.asdict(config.stage(task.stage).net)
                    for config in (runs.load_config(settings.parent), task.config))
        differs = "; ".join(configs.differences(net, own))
        if differs:
            raise InputError(f"{weights}: --start_from expects a {task.stage} net like that to be trained, but "
                             f"{differs}; give its settings (--preset, --base_filters), or other weights")
    return unfold.load(weights, task.stage) if exported else models.load(task.config, task.stage, weights)


def begin(run: Run, step: TrainStep) -> None:
    """Copies the weights to start from, if any, into a new step's net and its moving average.

    From the fine net tumor2d takes all but the last layer and the part of the first kernel that reads the kidney mask,
    which is not an input of the fine net. These keep their random initialization.

    Args:
        step: the task's training.step.TrainStep.

    Raises:
        InputError: if the weights cannot be read.
    """
    task, weights = run.task, run.origin
    if not weights:
        return
    net = _load(task, weights) if task.start_from else models.load(runs.load_config(weights.parent), "fine", weights)
    for layer in step.model.layers:
        if layer.name == FRESH and not task.start_from:
            continue
        for variable, value in zip(tf_variables(layer.weights), net.get_layer(layer.name).get_weights(), strict=True):
            if value.shape != variable.shape:  # the first kernel: y, x, channels in, channels out
                value = np.concatenate([value, variable.numpy()[:, :, value.shape[2]:]], axis=2)
            variable.assign(value)
    for mean, weight in zip(step.average, step.weights, strict=False):
        mean.assign(weight.read_value())
