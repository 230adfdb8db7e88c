"""Loads the trained nets of a run folder for export: five nets, or five for each of several folds."""

import dataclasses
import hashlib
import itertools
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from kits_tf import models
from kits_tf.config import STAGES, CascadeConfig, TrainingConfig
from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.models.fold import folded

WEIGHTS = {"best": runs.BEST, "last": runs.LAST}


def collect(run_dir: str | pathlib.Path, folds: Sequence[int] = (0,), weights: str = "best"
            ) -> tuple[dict[str, list[tf.keras.Model]], CascadeConfig]:
    """Loads the trained nets of a run and the settings they were trained with.

    Args:
        run_dir: the run folder that train.py wrote.
        folds: the folds whose nets to load.
        weights: "best" (on the validation set) or "last".

    Returns:
        (nets, config): a dict from stage to a list of Keras models, one per fold, with folded batch norms; and the
        CascadeConfig.

    Raises:
        InputError: if a stage is not trained, its weights cannot be read, the stages were trained on different grids,
            windows or crop sizes, the folds with different settings, or a net on the validation cases of another.
    """
    if not pathlib.Path(run_dir).is_dir():
        raise InputError(f"{run_dir}: no such run folder; train first: python train.py --stage=all --run_dir={run_dir}")
    config = _settings(_folders(run_dir, folds[0], weights))
    nets: dict[str, list[tf.keras.Model]] = {stage: [] for stage in STAGES}
    for fold in folds:
        folders = _folders(run_dir, fold, weights)
        trained = _settings(folders)
        clash = runs.clash({str(folder): runs.load_identity(folder) for folder in folders.values()})
        if clash:
            raise InputError(f"{run_dir}: {clash}, so that the scores of fold {fold} would be too good; train all nets "
                             f"of a fold on the same folds")
        for stage in STAGES:
            if _lasting(trained.stage(stage)) != _lasting(config.stage(stage)) or _grid(trained) != _grid(config):
                raise InputError(f"{folders[stage] / runs.CONFIG}: {stage} was trained with other settings than in "
                                 f"fold {folds[0]}; train it with the same, or export without fold {fold}")
        for stage, net in trained_nets(run_dir, config, fold, weights).items():
            nets[stage].append(folded(net, config, stage))
    return nets, config


def trained_nets(run_dir: str | pathlib.Path, config: CascadeConfig, fold: int, weights: str = "best"
                 ) -> dict[str, tf.keras.Model]:
    """Loads the nets of one fold as they were trained, with batch norms: a dict from stage to Keras model.

    Raises:
        InputError: if weights are missing or cannot be read.
    """
    return {stage: models.load(config, stage, folder / WEIGHTS[weights])
            for stage, folder in _folders(run_dir, fold, weights).items()}


def describe(run_dir: str | pathlib.Path, folds: Sequence[int] = (0,)) -> tuple[dict[str, list[dict]], list[str]]:
    """Describes the training of the nets that `collect` loads.

    The cases are counted, not named: a model is passed on, and names may be those of patients.

    Args:
        run_dir, folds: as in `collect`.

    Returns:
        (described, warnings): for each stage a list of dicts, one per fold, with `fold`, `epochs` (trained),
        `of_epochs` (planned), `best_dice` on the validation cases after `best_epoch`, the numbers of cases (`train`,
        `held_out`), one SHA-256 over the records (`records`) and that of the weights it started from (`start_from`);
        None for what is not known. A line for each net that is unfinished or finds nothing.
    """
    described: dict[str, list[dict]] = {stage: [] for stage in STAGES}
    warnings: list[str] = []
    for stage, fold in itertools.product(STAGES, folds):
        folder = runs.stage_folder(run_dir, stage, fold)
        history, identity = runs.load_history(folder), runs.load_identity(folder)
        training = runs.load_config(folder).stage(stage).training
        best = runs.best_epoch(history) if history else {"val_dice": None, "epoch": None}
        cases = {**identity["train"], **identity["held_out"]}
        records = [facts.get("records") for _, facts in sorted(cases.items())]
        described[stage].append({
            "fold": fold, "epochs": len(history) or None, "of_epochs": training.epochs, "best_dice": best["val_dice"],
            "best_epoch": best["epoch"], "train": len(identity["train"]) or None,
            "held_out": len(identity["held_out"]) or None,
            "records": hashlib.sha256(" ".join(records).encode()).hexdigest() if records and all(records) else None,
            "start_from": (identity["start_from"] or {}).get("sha256")})
        if not history:
            warnings.append(f"{folder}: has no {runs.HISTORY}, which would tell whether this net is trained to its end")
        elif not runs.finished(history, training):
            warnings.append(f"{folder}: this net is not trained to its end, it has {len(history)} of {training.epochs} "
                            f"epochs and a best Dice of {best['val_dice']:.3f}; continue with train.py")
        elif runs.found_nothing(history):
            warnings.append(f"{folder}: the best Dice of this net is {best['val_dice']:.3f}: it finds nothing")
    return described, warnings


def _folders(run_dir, fold, weights):
    """Returns each stage's folder of a fold. Raises InputError if a stage has no weights."""
    folders = {stage: runs.stage_folder(run_dir, stage, fold) for stage in STAGES}
    missing = [stage for stage, folder in folders.items() if not (folder / WEIGHTS[weights]).exists()]
    if missing:
        raise InputError(f"{run_dir}: no {weights} weights of {', '.join(missing)} in fold {fold}; train first, with "
                         f"the flags of the other stages: python train.py --stage={missing[0]} --run_dir={run_dir} "
                         f"--fold={fold}")
    return folders


def _settings(folders):
    """Returns the CascadeConfig of a fold: each stage's settings from its own config, everything else from coarse's.

    Raises InputError if preset, spacing, window or input shape differ between stages.
    """
    trained = {stage: runs.load_config(folder) for stage, folder in folders.items()}
    config = dataclasses.replace(trained["coarse"], **{stage: trained[stage].stage(stage) for stage in STAGES})
    for stage in STAGES:
        for name in ("preset", "spacing_mm", "window_hu"):
            if getattr(trained[stage], name) != getattr(config, name):
                raise InputError(f"{folders[stage] / runs.CONFIG}: {stage} was trained with {name} "
                                 f"{getattr(trained[stage], name)}, but coarse with {getattr(config, name)}; train "
                                 f"both with the same settings")
        if trained[stage].input_shape(stage) != config.input_shape(stage):
            raise InputError(f"{folders[stage] / runs.CONFIG}: {stage} was trained on crops of "
                             f"{trained[stage].input_shape(stage)}, but the fine net on {config.input_shape(stage)}; "
                             f"train both with the same settings")
    return config


def _grid(config):
    return config.preset, config.spacing_mm, config.window_hu


def _lasting(settings):
    """Returns a stage's settings with the default training schedule, since folds may differ in their schedule."""
    return dataclasses.replace(settings, training=TrainingConfig(augment=settings.training.augment))
