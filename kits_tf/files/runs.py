"""Layout of a run folder, which training writes and the cascade's export reads.

    runs/<name>/<stage>/fold<k>/config.json  history.csv  best.weights.h5  last.weights.h5  checkpoints/  events/
"""

import pathlib

from kits_tf import config as configs
from kits_tf.errors import InputError
from kits_tf.files.atomic import write_text

CONFIG = "config.json"
HISTORY = "history.csv"
BEST = "best.weights.h5"
LAST = "last.weights.h5"


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
        raise InputError(f"{path}: cannot be read ({error})") from error
