"""Whose run folder is it? A run goes on only in a folder that the same settings, seed and cases began."""

import dataclasses
import json
import pathlib

from kits_tf.config import STAGES
from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.files.atomic import write_text
from kits_tf.training.task import Task

IDENTITY = "training.json"  # seed and cases, beside config.json
MOST_NAMED = 6  # differences in one message


def claim(folder: str | pathlib.Path, task: Task) -> None:
    """Writes who trains here into a run folder that is nobody's yet.

    Args:
        folder: as runs.stage_folder.
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
    """Whether somebody trains or trained in a folder; if so, checks that it is this task.

    Raises:
        InputError: as check, or if the folder holds weights of no known origin.
    """
    folder = pathlib.Path(folder)
    if (folder / runs.CONFIG).exists() and (folder / IDENTITY).exists():
        check(folder, task)
        return True
    if any((folder / name).exists() for name in (runs.BEST, runs.LAST, "checkpoints")):
        raise InputError(f"{folder}: holds weights but not the settings of their training; choose another --run_dir")
    return False


def check(folder: str | pathlib.Path, task: Task) -> None:
    """Checks that a run folder is this task's.

    Raises:
        InputError: if it belongs to another run; its message names what differs.
    """
    folder = pathlib.Path(folder)
    found = list(_differences(_settings(runs.load_config(folder), task.stage), _settings(task.config, task.stage)))
    found += _differences({"precision": "float32"} | _read_identity(folder), task.identity())
    if found:
        more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise InputError(f"{folder}: was trained otherwise, {'; '.join(found[:MOST_NAMED])}{more}; choose another "
                         f"--run_dir")


def _settings(config, stage):
    """What a stage's training depends on, as a dict: its own settings, the shared ones, and for tumor2d the fine
    stage's crops, which are its own; no other stage's."""
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
            yield f"{path}{name} is {short[0]} there and {short[1]} here"
