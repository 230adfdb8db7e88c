"""A run folder: what training leaves behind and the cascade picks up, and the exports made of it.

    runs/<name>/<stage>/fold<k>/config.json  history.csv  best.weights.h5  last.weights.h5  checkpoints/  events/
    runs/<name>/export/<version>/saved_model.pb
"""

import pathlib

from kits_tf import config as configs
from kits_tf.errors import InputError
from kits_tf.io.files import folder_digest, write_text

CONFIG = "config.json"
HISTORY = "history.csv"
BEST = "best.weights.h5"
LAST = "last.weights.h5"


def stage_folder(run_dir: str | pathlib.Path, stage: str, fold: int) -> pathlib.Path:
    """Where one stage's training on one fold lives."""
    return pathlib.Path(run_dir) / stage / f"fold{fold}"


def versions(directory: str | pathlib.Path) -> list[pathlib.Path]:
    """The complete version folders of an export folder, rising; none if there is no such folder."""
    found = [path for path in pathlib.Path(directory).glob("*")
             if path.name.isdigit() and (path / "saved_model.pb").exists()]
    return sorted(found, key=lambda path: int(path.name))


def find_export(directory: str | pathlib.Path) -> pathlib.Path:
    """The version to load: the folder itself, or the newest version in an export folder.

    Raises:
        InputError: if there is neither.
    """
    directory = pathlib.Path(directory)
    if (directory / "saved_model.pb").exists():
        return directory
    found = versions(directory)
    if not found:
        raise InputError(f"{directory}: no exported cascade here (saved_model.pb, or <version>/saved_model.pb); "
                         f"make one with: python -m kits_tf.cascade --run_dir=runs/NAME --output={directory}")
    return found[-1]


def export_digest(version: str | pathlib.Path) -> str:
    """SHA-256 of what an exported version answers by: its graph, weights and settings."""
    return folder_digest(version, ("saved_model.pb", "variables", "assets"))


def save_config(folder: str | pathlib.Path, config: configs.CascadeConfig) -> None:
    """Writes the cascade's config into a run folder."""
    write_text(pathlib.Path(folder) / CONFIG, configs.to_json(config))


def load_config(folder: str | pathlib.Path) -> configs.CascadeConfig:
    """The config that was saved in a run folder.

    Raises:
        InputError: if there is none, or it cannot be read.
    """
    path = pathlib.Path(folder) / CONFIG
    if not path.exists():
        raise InputError(f"{path}: no such file; train this stage first (python train.py --stage={path.parts[-3]})")
    try:
        return configs.from_json(path.read_text())
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
