"""Makes an export's nets trainable again, whose batch norms are folded into the convolutions (fold.py).

    <version>/assets.extra/batch_norms.npz   the batch norms' vectors, and where the folded weights are; about 50 kB

Folding multiplies each kernel by the batch norm's gain; with the norm's vectors at hand it can be divided out again.
"""

import pathlib
import typing
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from kits_tf import config as configs
from kits_tf import models
from kits_tf.config import CascadeConfig
from kits_tf.errors import InputError, one_line
from kits_tf.models.fold import folded, gain_of

PLACE = pathlib.PurePath("assets.extra", "batch_norms.npz")
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"  # how TensorFlow's object checkpoints end the name of a variable


def save(nets: Mapping[str, tf.keras.Model], version: str | pathlib.Path, config: CascadeConfig) -> None:
    """Adds to an export what `load` needs.

    Args:
        nets: dict from each stage to its trained net, as from models.build, with batch norms.
        version: version folder of an export of the same nets.
        config: the export's CascadeConfig.
    """
    version = pathlib.Path(version)
    checkpoint = tf.train.load_checkpoint(str(version / "variables" / "variables"))
    names = {checkpoint.get_tensor(name).tobytes(): name for name in checkpoint.get_variable_to_shape_map()
             if name.endswith(VALUE)}
    arrays: dict[str, typing.Any] = {}
    for stage, net in nets.items():
        norms = {layer.name: layer for layer in net.layers if layer.name.endswith("_norm")}
        for layer in folded(net, config, stage).layers:
            if layer.weights:
                arrays[f"{stage}/{layer.name}"] = np.array([names[values.tobytes()] for values in layer.get_weights()])
        arrays |= {f"{stage}/{name}": np.stack(norm.get_weights()) for name, norm in norms.items()}
    path = version / PLACE
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **arrays)


def load(version: str | pathlib.Path, stage: str) -> tf.keras.Model:
    """Builds a stage's net as it was trained, from an export.

    Returns:
        Keras model from models.build for the export's settings. Its output is that of the exported net, up to float
        rounding.

    Raises:
        InputError: if the export does not have what `save` adds, or cannot be read.
    """
    version = pathlib.Path(version)
    try:
        config = configs.from_json((version / "assets" / "config.json").read_text())
        checkpoint = tf.train.load_checkpoint(str(version / "variables" / "variables"))
        net = models.build(config, stage)
        with np.load(version / PLACE) as saved:
            for layer in net.layers:
                name = f"{stage}/{layer.name}"
                if layer.name.endswith("_norm"):
                    layer.set_weights(list(saved[name]))
                elif layer.weights:
                    kernel, *bias = (checkpoint.get_tensor(str(place)) for place in saved[name])
                    norm = f"{name.removesuffix('_conv')}_norm"
                    if layer.name.endswith("_conv") and norm in saved:
                        gain = gain_of(saved[norm], net.get_layer(norm.partition("/")[2]).epsilon)
                        kernel, bias = kernel / np.where(gain == 0, 1.0, gain), []
                    layer.set_weights([kernel, *bias])
    except FileNotFoundError as error:
        raise InputError(f"{version}: cannot be trained further, because it has no {PLACE}; name the run folder that "
                         f"it was exported from") from error
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise InputError(f"{version}: cannot be read as an export to start from ({one_line(error)})") from error
    return net
