"""Writes the cascade as a SavedModel: nets, rules and settings in one folder that needs none of this code to run.

    <directory>/<version>/saved_model.pb, variables/, assets/config.json
"""

import os
import pathlib
import shutil
import tempfile

import tensorflow as tf

from kits_tf import config as configs
from kits_tf import runs
from kits_tf.cascade.module import Cascade


def export_cascade(nets, directory, config=None):
    """Exports the cascade as the next version in a folder; the version appears whole or not at all.

    Args:
        nets: dict from each name in config.STAGES to a Keras model or another TensorFlow callable, from windowed
            float32 (n, y, x, channels) or (n, z, y, x, 1) to probabilities of the same shape with one channel
            (tumor2d sees two: the image and the kidney mask).
        directory: the export folder; made if it is not there.
        config: CascadeConfig; None for the `paper` preset.

    Returns:
        Path of the new version folder.

    Raises:
        ValueError: if a stage has no net, or a net answers with another shape.
    """
    config = configs.PRESETS["paper"] if config is None else config
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    module = Cascade(nets, config)
    done = runs.versions(directory)
    target = directory / str(int(done[-1].name) + 1 if done else 1)
    # The temporary name is not a number, so that no server takes it for a version.
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=".export-", dir=directory))
    try:
        with tempfile.TemporaryDirectory() as scratch:
            asset = pathlib.Path(scratch) / "config.json"
            asset.write_text(configs.to_json(config))
            module.config = tf.saved_model.Asset(str(asset))
            tf.saved_model.save(module, str(temporary), signatures=module.functions)
        temporary.chmod(0o755)
        os.replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target
