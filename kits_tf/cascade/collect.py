"""Takes the five trained nets of a run folder for export."""

import dataclasses
import pathlib

from kits_tf import models, runs
from kits_tf.config import STAGES
from kits_tf.volume import InputError

WEIGHTS = {"best": runs.BEST, "last": runs.LAST}


def collect(run_dir, fold=0, weights="best"):
    """The trained nets of a run and the settings they were trained under.

    Args:
        run_dir: the run folder that train.py wrote.
        fold: which fold's training to take.
        weights: "best" (on the held-out cases) or "last".

    Returns:
        (nets, config): Keras models by stage, and the CascadeConfig.

    Raises:
        InputError: if a stage is not trained, its weights cannot be read, or the stages were trained on different
            grids or windows.
    """
    if not pathlib.Path(run_dir).is_dir():
        raise InputError(f"{run_dir}: no such run folder; train first: python train.py --stage=all --run_dir={run_dir}")
    folders = {stage: runs.stage_folder(run_dir, stage, fold) for stage in STAGES}
    missing = [stage for stage, folder in folders.items() if not (folder / WEIGHTS[weights]).exists()]
    if missing:
        raise InputError(f"{run_dir}: has no {weights} weights of {', '.join(missing)} in fold {fold}; train first: "
                         f"python train.py --stage={missing[0]} --run_dir={run_dir} --fold={fold}")
    trained = {stage: runs.load_config(folder) for stage, folder in folders.items()}
    # Each stage as it was trained; what they share must be the same everywhere.
    config = dataclasses.replace(trained["coarse"], **{stage: trained[stage].stage(stage) for stage in STAGES})
    for stage in STAGES:
        for name in ("preset", "spacing_mm", "window_hu"):
            if getattr(trained[stage], name) != getattr(config, name):
                raise InputError(f"{folders[stage] / runs.CONFIG}: {stage} was trained with {name} "
                                 f"{getattr(trained[stage], name)}, coarse with {getattr(config, name)}; train them "
                                 f"alike")
        if trained[stage].input_shape(stage) != config.input_shape(stage):
            raise InputError(f"{folders[stage] / runs.CONFIG}: {stage} was trained on crops of "
                             f"{trained[stage].input_shape(stage)}, the fine net on {config.input_shape(stage)}; "
                             f"train them alike")
    return {stage: _load(config, stage, folders[stage] / WEIGHTS[weights]) for stage in STAGES}, config


def _load(config, stage, path):
    net = models.build(config, stage)
    try:
        net.load_weights(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as weights of the {stage} net "
                         f"({' '.join(str(error).split())[:200]})") from error
    return net
