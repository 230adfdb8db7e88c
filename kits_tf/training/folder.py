"""Whose run folder is it? A run goes on only in a folder that the same settings, seed and cases began."""

import dataclasses
import json
import pathlib

from kits_tf import runs
from kits_tf.volume import InputError

IDENTITY = "training.json"  # seed and cases, beside config.json


def claim(folder, task):
    """Writes who trains here into an empty run folder, or checks that it says the same.

    Args:
        folder: as runs.stage_folder.
        task: training.stages.Task.

    Raises:
        InputError: if the folder belongs to another run; its message names the first difference.
    """
    folder = pathlib.Path(folder)
    if (folder / runs.CONFIG).exists() and (folder / IDENTITY).exists():
        there = _read_identity(folder)
        difference = _first_difference(dataclasses.asdict(runs.load_config(folder)), dataclasses.asdict(task.config))
        difference = difference or _first_difference(there, task.identity())
        if difference:
            raise InputError(f"{folder}: was trained otherwise, {difference}; choose another --run_dir")
        return
    if any((folder / name).exists() for name in (runs.BEST, runs.LAST, "checkpoints")):
        raise InputError(f"{folder}: holds weights but not the settings of their training; choose another --run_dir")
    runs.save_config(folder, task.config)
    runs.write_text(folder / IDENTITY, json.dumps(task.identity(), indent=2) + "\n")


def _read_identity(folder):
    try:
        return dict(json.loads((folder / IDENTITY).read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{folder / IDENTITY}: cannot be read ({error})") from error


def _first_difference(there, here, path=""):
    for name in here:
        then, now = there.get(name), here[name]
        if isinstance(now, dict) and isinstance(then, dict):
            found = _first_difference(then, now, f"{path}{name}.")
            if found:
                return found
        elif then != now:
            short = [value if len(value) < 40 else value[:36] + "..." for value in (str(then), str(now))]
            return f"{path}{name} is {short[0]} there and {short[1]} here"
    return None
