"""Checks that a run folder matches the settings, seed, precision and cases of a run before it is resumed."""

import dataclasses
import json
import pathlib

from kits_tf.config import STAGES
from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.files.atomic import write_text
from kits_tf.training.task import Task

IDENTITY = "training.json"  # seed, precision and cases, beside config.json
MOST_NAMED = 6  # most differences in one message


def claim(folder: str | pathlib.Path, task: Task) -> None:
    """Writes the settings and identity of a task into a new run folder; checks them if the folder has them already.

    Args:
        folder: the stage's folder, as from runs.stage_folder.
        task: training.task.Task.

    Raises:
        InputError: as check_if_claimed.
    """
    folder = pathlib.Path(folder)
    if check_if_claimed(folder, task):
        return
    runs.save_config(folder, task.config)
    write_text(folder / IDENTITY, json.dumps(task.identity(), indent=2) + "\n")


def check_if_claimed(folder: str | pathlib.Path, task: Task) -> bool:
    """Returns whether a folder was used for training before; if so, checks that it was used for this task.

    Raises:
        InputError: as check, or if the folder contains weights but not the settings they were trained with.
    """
    folder = pathlib.Path(folder)
    if (folder / runs.CONFIG).exists() and (folder / IDENTITY).exists():
        check(folder, task)
        return True
    if any((folder / name).exists() for name in (runs.BEST, runs.LAST, "checkpoints")):
        raise InputError(f"{folder}: contains weights but not the settings they were trained with; choose another "
                         f"--run_dir")
    return False


def check(folder: str | pathlib.Path, task: Task) -> None:
    """Checks that a run folder belongs to a task.

    Raises:
        InputError: if it belongs to another run (the message names the differences), or cannot be read.
    """
    folder = pathlib.Path(folder)
    found = list(_differences(_settings(runs.load_config(folder), task.stage), _settings(task.config, task.stage)))
    found += _differences({"precision": "float32"} | _read_identity(folder), task.identity())
    if found:
        more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise InputError(f"{folder}: was trained with different settings: {'; '.join(found[:MOST_NAMED])}{more}; "
                         f"choose another --run_dir")


def _settings(config, stage):
    """Returns the settings that a stage's training depends on: its own, the shared ones, and for tumor2d the crop
    settings of the fine stage, since both use the same crops."""
    fields = dataclasses.asdict(config)
    seen = {name: value for name, value in fields.items() if name not in STAGES or name == stage}
    if stage == "tumor2d":
        seen["fine"] = {name: value for name, value in fields["fine"].items()
                        if name not in ("net", "training", "predict_batch")}
    return seen


def _read_identity(folder):
    path = folder / IDENTITY
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def _differences(there, here, path=""):
    for name in here:
        then, now = there.get(name), here[name]
        if isinstance(now, dict) and isinstance(then, dict):
            yield from _differences(then, now, f"{path}{name}.")
        elif then != now:
            short = [value if len(value) < 40 else value[:36] + "..." for value in (str(then), str(now))]
            yield f"{path}{name}={short[0]}, now {short[1]}"
