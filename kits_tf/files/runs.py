"""Layout of a run folder, which training writes and the cascade's export reads.

    runs/<name>/<stage>/fold<k>/config.json  training.json  history.csv  best.weights.h5  last.weights.h5
                                checkpoints/  events/
"""

import contextlib
import csv
import itertools
import json
import pathlib
import re

from kits_tf import config as configs
from kits_tf.errors import InputError, few
from kits_tf.files.atomic import write_text

CONFIG = "config.json"
IDENTITY = "training.json"  # seed, precision, weights to start from and cases: what config.json does not hold
HISTORY = "history.csv"
BEST = "best.weights.h5"
LAST = "last.weights.h5"
NOTHING = 1e-3  # Dice below which a net has found nothing


def stage_folder(run_dir: str | pathlib.Path, stage: str, fold: int) -> pathlib.Path:
    """Returns the folder of one stage's training on one fold."""
    return pathlib.Path(run_dir) / stage / f"fold{fold}"


def save_config(folder: str | pathlib.Path, config: configs.CascadeConfig) -> None:
    """Writes the cascade's config into a run folder."""
    write_text(pathlib.Path(folder) / CONFIG, configs.to_json(config))


def load_config(folder: str | pathlib.Path) -> configs.CascadeConfig:
    """Reads the config that was saved in a run folder.

    Raises:
        InputError: if there is none, or if it cannot be read.
    """
    path = pathlib.Path(folder) / CONFIG
    if not path.exists():
        raise InputError(f"{path}: no such file; train this stage first (python train.py --stage={path.parts[-3]})")
    try:
        return configs.from_json(path.read_text())
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); put it back, or choose another --run_dir") from error


def load_identity(folder: str | pathlib.Path) -> dict:
    """Reads the identity of the run in a folder (training.task.Task.identity); one without cases if there is none.

    `train` and `held_out` map the cases to facts about them, which are empty in folders of older versions.

    Raises:
        InputError: if it cannot be read.
    """
    path = pathlib.Path(folder) / IDENTITY
    try:
        found = json.loads(path.read_text()) if path.exists() else {"train": {}, "held_out": {}}
        sides = {side: found[side] if isinstance(found[side], dict) else {case: {} for case in found[side]}
                 for side in ("train", "held_out")}
        return {"precision": "float32", "start_from": None, **found, **sides}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error}); put it back, or choose another --run_dir") from error


def seen(identity: dict) -> dict[str, dict]:
    """Returns the cases that a net has seen in training, those behind the weights that it started from included."""
    return {**(identity["start_from"] or {}).get("cases", {}), **identity["train"]}


def shared(one: dict[str, dict], other: dict[str, dict]) -> list[str]:
    """Returns the names of the cases in `one` that are in `other` too.

    Cases are the same if they were prepared from the same scan, whatever their names; where the scan of either is not
    known, if they have one name.
    """
    scans = {facts.get("scan") for facts in other.values()} - {None}
    return sorted(name for name, facts in one.items() if facts.get("scan") in scans or (
        name in other and not (facts.get("scan") and other[name].get("scan"))))


def clash(nets: dict[str, dict]) -> str | None:
    """Returns a phrase for the validation cases of a net that a net of the same fold has seen in training, or None.

    Args:
        nets: identities by the nets' names.
    """
    for (one, trained), (other, validated) in itertools.product(nets.items(), repeat=2):
        found = shared(validated["held_out"], seen(trained))
        if found:
            return f"{other} is validated on {few(found, 1)}, on which {one} was trained"
    return None


def load_history(folder: str | pathlib.Path) -> list[dict]:
    """Reads history.csv: a dict of numbers per epoch, empty cells left out; no epochs if it cannot be read."""
    with contextlib.suppress(OSError, ValueError), open(pathlib.Path(folder) / HISTORY, encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
        return [row | {"epoch": int(row["epoch"])} for row in rows if {"epoch", "val_dice"} <= set(row)]
    return []


def best_epoch(history: list[dict]) -> dict:
    """Returns the row with the highest validation Dice; the latest if several are equal."""
    return max(history, key=lambda row: (row["val_dice"], row["epoch"]))


def found_nothing(history: list[dict]) -> bool:
    """Returns whether a run never had a validation Dice above zero."""
    return best_epoch(history)["val_dice"] < NOTHING


def finished(history: list[dict], training: configs.TrainingConfig) -> bool:
    """Returns whether a run has reached its last epoch, or had no better `val_dice` for `patience` epochs."""
    if len(history) >= training.epochs:
        return True
    if not training.patience or not history:
        return False
    scores = [row["val_dice"] for row in history]
    return len(scores) - 1 - scores.index(max(scores)) >= training.patience


def checkpoints(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the checkpoints in a run folder, oldest first, by their path without an ending; they may be damaged."""
    found = [path.with_suffix("") for path in (pathlib.Path(folder) / "checkpoints").glob("ckpt-*.index")
             if re.fullmatch(r"ckpt-\d+", path.stem)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("ckpt-")))


def begun(folder: str | pathlib.Path) -> bool:
    """Returns whether a run has saved anything in a folder that a new run would overwrite."""
    return bool(checkpoints(folder)) or any((pathlib.Path(folder) / name).exists() for name in (HISTORY, BEST, LAST))
