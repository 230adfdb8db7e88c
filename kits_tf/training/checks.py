"""Checks before training: the batch can be divided, and folder, cases and weights to start from fit the task.

A run folder fits if its settings, seed, precision, starting weights and records are those of the task.
"""

import dataclasses
import json
from collections.abc import Sequence

import tensorflow as tf

from kits_tf.config import STAGES, differences
from kits_tf.errors import InputError, few
from kits_tf.files import runs
from kits_tf.files.atomic import write_text
from kits_tf.training import start
from kits_tf.training.failures import no_checkpoint
from kits_tf.training.task import Run, Task

MOST_NAMED = 6  # most differences in one message


def check(run: Run, strategy: tf.distribute.Strategy, before: Sequence[Task] = ()) -> None:
    """Checks a run before training. Call it for all runs before the first one starts, which may take days.

    Args:
        before: tasks that are trained before this one.

    Raises:
        InputError: if the run's folder belongs to another run, the batch cannot be split evenly, or the fine net to
            start from is neither trained nor among the tasks before.
    """
    task, replicas = run.task, strategy.num_replicas_in_sync
    if task.training.batch_size % replicas:
        another = "" if runs.begun(run.folder) else ", or choose another --batch_size"
        raise InputError(f"{task.name}: a batch of {task.training.batch_size} cannot be divided among {replicas} "
                         f"replicas; train on one device with --strategy=one{another}")
    run = as_begun(run)
    check_if_begun(run)
    check_cases(run)
    start.check(run, before)


def claim(run: Run) -> None:
    """Writes the settings and identity of a task into its folder if nothing was saved there yet; else checks them.

    Raises:
        InputError: as check_if_begun.
    """
    if check_if_begun(run):
        return
    runs.save_config(run.folder, run.task.config)
    write_text(run.folder / runs.IDENTITY, json.dumps(run.task.identity(), indent=1) + "\n")


def prolong(run: Run) -> None:
    """Notes in the folder that the run is to have more epochs than it was begun with, if it is."""
    if runs.load_config(run.folder).stage(run.task.stage).training.epochs < run.task.training.epochs:
        runs.save_config(run.folder, run.task.config)


def check_if_begun(run: Run) -> bool:
    """Returns whether a run has saved anything in its folder; if so, checks that it is this task's and can continue.

    Raises:
        InputError: as check_folder; also if the folder holds weights without their settings, or results without a
            checkpoint.
    """
    folder = run.folder
    if not runs.begun(folder):
        return False
    if not (folder / runs.CONFIG).exists() or not (folder / runs.IDENTITY).exists():
        raise InputError(f"{folder}: holds weights but not the settings of their training; choose another --run_dir")
    check_folder(run)
    if not runs.checkpoints(folder) and not runs.finished(runs.load_history(folder), run.task.training):
        raise no_checkpoint(folder)
    return True


def check_folder(run: Run) -> None:
    """Checks that a folder belongs to the run's task. More epochs than it was begun with are allowed.

    Raises:
        InputError: if it belongs to another run (the message names the differences), or cannot be read.
    """
    folder, task = run.folder, run.task
    there, here = (_settings(config, task.stage) for config in (runs.load_config(folder), task.config))
    epochs = [settings[task.stage]["training"].pop("epochs") for settings in (there, here)]
    found = list(differences(there, here))
    if epochs[0] > epochs[1]:
        found.append(f"{task.stage}.training.epochs={epochs[0]}, now {epochs[1]}")
    identity, own = runs.load_identity(folder), task.identity()
    found += differences(identity, {name: own[name] for name in ("seed", "precision")})
    if (identity["start_from"] or {}).get("sha256") != (own["start_from"] or {}).get("sha256"):
        found.append("it began from {}, now from {}".format(
            *(f"{start['file']} (SHA-256 {start['sha256'][:8]}...)" if start else "no --start_from"
              for start in (identity["start_from"], own["start_from"]))))
    for side, doing in (("train", "trained on"), ("held_out", "validated on")):
        found += _case_differences(identity[side], own[side], doing)
    if found:
        raise InputError(f"{folder}: was trained with different settings: {few(found, MOST_NAMED, '; ')}; "
                         f"choose another --run_dir, or move this folder away")


def as_begun(run: Run) -> Run:
    """Returns the run without the cases that were added since it began.

    A run in which nothing was saved yet takes all cases of the task.
    """
    if not runs.begun(run.folder):
        return run
    identity, task = runs.load_identity(run.folder), run.task
    train, held_out = (tuple(path for path in paths if path.stem in identity[side])
                       for side, paths in (("train", task.train), ("held_out", task.held_out)))
    return dataclasses.replace(run, task=dataclasses.replace(task, train=train, held_out=held_out))


def check_cases(run: Run) -> None:
    """Checks that no net of a fold was trained on a case that another net of the fold is validated on.

    Raises:
        InputError: if there is such a case; the message names it.
    """
    task = run.task
    own = task.identity()
    twice = runs.shared(own["held_out"], own["train"])
    if twice:
        raise InputError(f"{task.name}: {few(twice, 1)} is validated on, and a training case has the same scan under "
                         f"another name, so that its scores would be too good; take one of the two out of the study "
                         f"and prepare it again with --discard")
    nets = {}
    if task.start_from:
        nets[task.start_from["file"]] = {"start_from": None, "train": task.start_from["cases"], "held_out": {}}
    nets[task.name] = own
    for stage in STAGES:
        place = runs.stage_folder(run.run_dir, stage, task.fold)
        if stage != task.stage and runs.begun(place):
            nets[str(place)] = runs.load_identity(place)
    found = runs.clash(nets)
    if found:
        raise InputError(f"{task.name}: {found}, so that its scores would be too good; train all nets of a fold on the "
                         f"same folds into another --run_dir{', or from other weights' if task.start_from else ''}")


def _settings(config, stage):
    """Returns the settings that a stage's training depends on: its own, the shared ones, and for tumor2d the crop
    settings of the fine stage, since both use the same crops."""
    fields = dataclasses.asdict(config)
    seen = {name: value for name, value in fields.items() if name not in STAGES or name == stage}
    if stage == "tumor2d":
        seen["fine"] = {name: value for name, value in fields["fine"].items()
                        if name not in ("net", "training", "predict_batch")}
    return seen


def _case_differences(there, here, doing):
    """Yields a phrase for the cases that left one side of the split, and one for those whose records changed."""
    gone = [case for case in there if case not in here]
    changed = [case for case in here if there.get(case, {}).get("records", here[case]["records"])
               != here[case]["records"]]
    if gone:
        yield f"it was {doing} {few(gone, 1)}, now missing"
    if changed:
        yield f"it was {doing} other records of {few(changed, 1)}, which were prepared again since"
