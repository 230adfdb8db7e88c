"""Checks that a run folder matches the settings, seed, precision, starting weights and records of a run."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator

from kits_tf.config import STAGES
from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.files.atomic import write_text
from kits_tf.training.task import Task

MOST_NAMED = 6  # most differences in one message


def claim(folder: str | pathlib.Path, task: Task) -> None:
    """Writes the settings and identity of a task into a run folder in which nothing was saved yet; else checks them.

    Args:
        folder: the stage's folder, as from runs.stage_folder.
        task: training.task.Task.

    Raises:
        InputError: as check_if_begun.
    """
    folder = pathlib.Path(folder)
    if check_if_begun(folder, task):
        return
    runs.save_config(folder, task.config)
    write_text(folder / runs.IDENTITY, json.dumps(task.identity(), indent=1) + "\n")


def check_if_begun(folder: str | pathlib.Path, task: Task) -> bool:
    """Returns whether a run has saved anything in a folder; if so, checks that it is this task's and can go on.

    Raises:
        InputError: as check; also if the folder holds weights without their settings, or results without a checkpoint.
    """
    folder = pathlib.Path(folder)
    if not runs.begun(folder):
        return False
    if not (folder / runs.CONFIG).exists() or not (folder / runs.IDENTITY).exists():
        raise InputError(f"{folder}: holds weights but not the settings of their training; choose another --run_dir")
    check(folder, task)
    if not runs.checkpoints(folder) and not runs.finished(runs.load_history(folder), task.training):
        raise no_checkpoint(folder)
    return True


def no_checkpoint(folder: pathlib.Path, reason: str = "") -> InputError:
    """Returns the error for a folder in which epochs were trained, but from whose checkpoints no run can go on."""
    reason = reason or f"{folder / 'checkpoints'}: holds no checkpoint"
    return InputError(f"{reason}, though {folder} holds results of training; put its checkpoints back from a copy, or "
                      f"move {folder} away: the same command then begins anew, or from its weights with --start_from")


def check(folder: str | pathlib.Path, task: Task) -> None:
    """Checks that a run folder belongs to a task. More epochs than it was begun with are allowed.

    Raises:
        InputError: if it belongs to another run (the message names the differences), or cannot be read.
    """
    folder = pathlib.Path(folder)
    there, here = (_settings(config, task.stage) for config in (runs.load_config(folder), task.config))
    epochs = [settings[task.stage]["training"].pop("epochs") for settings in (there, here)]
    found = list(differences(there, here))
    if epochs[0] > epochs[1]:
        found.append(f"{task.stage}.training.epochs={epochs[0]}, now {epochs[1]}")
    identity, own = runs.load_identity(folder), task.identity()
    found += differences(identity, {name: own[name] for name in ("seed", "precision")})
    if (identity["start_from"] or {}).get("sha256") != (own["start_from"] or {}).get("sha256"):
        found.append("it began from {} there and from {} here".format(
            *(f"{start['file']} (SHA-256 {start['sha256'][:8]}...)" if start else "no --start_from"
              for start in (identity["start_from"], own["start_from"]))))
    for side, doing in (("train", "trained on"), ("held_out", "validated on")):
        found += _case_differences(identity[side], own[side], doing)
    if found:
        more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise InputError(f"{folder}: was trained with different settings: {'; '.join(found[:MOST_NAMED])}{more}; "
                         f"choose another --run_dir, or move this folder away")


def as_begun(folder: str | pathlib.Path, task: Task) -> Task:
    """Returns the task without the cases that were added since its run began in a folder.

    A run in which nothing was saved yet takes all cases of the task.
    """
    if not runs.begun(folder):
        return task
    identity = runs.load_identity(folder)
    train, held_out = (tuple(path for path in paths if path.stem in identity[side])
                       for side, paths in (("train", task.train), ("held_out", task.held_out)))
    return dataclasses.replace(task, train=train, held_out=held_out)


def check_cases(task: Task, run_dir: str | pathlib.Path) -> None:
    """Checks that no net of a fold was trained on a case that another net of the fold is validated on.

    Args:
        task: training.task.Task.
        run_dir: the run folder, in which other stages of the fold may have begun.

    Raises:
        InputError: if there is such a case; the message names it.
    """
    nets = {}
    if task.start_from:
        nets[task.start_from["file"]] = {"start_from": None, "train": task.start_from["cases"], "held_out": {}}
    nets[task.name] = task.identity()
    for stage in STAGES:
        place = runs.stage_folder(run_dir, stage, task.fold)
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
        yield f"it was {doing} {runs.named(gone)} there and is not here"
    if changed:
        yield f"it was {doing} other records of {runs.named(changed)}, which were prepared again since"


def differences(there: dict, here: dict, path: str = "") -> Iterator[str]:
    """Yields a phrase for each field of `here` that has another value there; `path` is the prefix of their names."""
    for name in here:
        then, now = there.get(name), here[name]
        if isinstance(now, dict) and isinstance(then, dict):
            yield from differences(then, now, f"{path}{name}.")
        elif then != now:
            short = [value if len(value) < 40 else value[:36] + "..." for value in (str(then), str(now))]
            yield f"{path}{name}={short[0]}, now {short[1]}"
