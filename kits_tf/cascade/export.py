"""Writes the cascade as a SavedModel: nets, rules and settings in one folder that runs without this package.

    <directory>/<version>/saved_model.pb  variables/
                          assets/config.json  assets/contents.json
                          assets.extra/tf_serving_warmup_requests
"""

import os
import pathlib
import secrets
import shutil
import tempfile
from collections.abc import Collection, Mapping

import tensorflow as tf

from kits_tf import config as configs
from kits_tf import labels as classes
from kits_tf.cascade import warmup
from kits_tf.cascade.average import mirrored_axes
from kits_tf.cascade.module import Cascade
from kits_tf.cascade.tiling import Net
from kits_tf.errors import one_line
from kits_tf.files.atomic import TEMPORARY, cannot_write


def export_cascade(nets: Mapping[str, Net | list[Net]], directory: str | pathlib.Path,
                   config: configs.CascadeConfig | None = None, flips: bool = False,
                   origin: dict | None = None, bfloat16: Collection[str] | None = None) -> pathlib.Path:
    """Exports the cascade as the next version in a folder. Calls build_cascade, then save_cascade.

    Args:
        nets, config, flips, origin, bfloat16: as in build_cascade.
        directory: as in save_cascade.

    Returns:
        Path of the new version folder.
    """
    return save_cascade(build_cascade(nets, config, flips, origin, bfloat16), directory)


def build_cascade(nets: Mapping[str, Net | list[Net]], config: configs.CascadeConfig | None = None, flips: bool = False,
                  origin: dict | None = None, bfloat16: Collection[str] | None = None) -> Cascade:
    """Builds the Cascade to export, with a description of its contents.

    Args:
        nets: dict from each name in config.STAGES to a Keras model or another TensorFlow callable, from windowed
            float32 (n, y, x, channels) or (n, z, y, x, 1) to probabilities of the same shape with one channel
            (tumor2d has two input channels, the image and the kidney mask); or to a list of them, which is averaged.
        config: CascadeConfig; None for the `paper` preset.
        flips: whether to average every net over mirror images, along the axes mirrored in its training (average.py).
        origin: dict of JSON values on where the nets come from, stored in contents.json.
        bfloat16: the stages whose nets compute in bfloat16 in the signature of that name; None for module.wide_stages.

    Raises:
        ValueError: if a stage has no net, or a net's output has the wrong shape.
    """
    config = configs.PRESETS["paper"] if config is None else config
    mirrored = mirrored_axes(config) if flips else dict.fromkeys(configs.STAGES, "")
    return Cascade(nets, config, mirrored, {
        "class_names": [classes.CLASS_NAMES[value] for value in sorted(classes.CLASS_NAMES)],
        "nets": {stage: len(net) if isinstance(net, list) else 1 for stage, net in nets.items()},
        "mirrored": mirrored,
        "tensorflow": tf.__version__,
        **(origin or {}),
    }, bfloat16)


def save_cascade(cascade: Cascade, directory: str | pathlib.Path) -> pathlib.Path:
    """Saves a Cascade as the next version in a folder and returns the version's path.

    Creates the folder if it does not exist. The version appears complete or not at all.

    Raises:
        RunError: if TensorFlow cannot write it, because the disk is full.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    taken = [int(path.name) for path in directory.iterdir() if path.name.isdecimal()]  # exports or not
    target = directory / str(max(taken, default=0) + 1)
    # The temporary name is not a number, so a server does not load it as a version; the next export removes the folder
    # that a killed one left (files/lock.py).
    temporary = directory / f"{TEMPORARY}{secrets.token_hex(8)}"
    temporary.mkdir()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            cascade.assets = []
            for name, text in cascade.texts.items():
                asset = pathlib.Path(scratch) / f"{name}.json"
                asset.write_text(text)
                cascade.assets.append(tf.saved_model.Asset(str(asset)))
            tf.saved_model.save(cascade, str(temporary), signatures=cascade.functions)
        warmup.write_requests(temporary, cascade.config)
        os.replace(temporary, target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, tf.errors.OpError):
            raise cannot_write(target, one_line(error.message)) from error
        raise
    return target
