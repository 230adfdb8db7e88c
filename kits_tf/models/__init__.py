"""Builds the nets of the five stages: Keras models that map window-scaled images to probabilities.

    build(config, "fine")           (n, y, x, 1) -> (n, y, x, 1), 2D U-Net; correction reads y, x as z, y
    build(config, "tumor2d")        (n, y, x, 2) -> (n, y, x, 1), 2D U-Net; channels are CT and kidney mask
    build(config, "tumor3d")        (n, z, y, x, 1) -> the same shape, 3D FCN, for any multiple of (2, 4, 4) voxels

The choice of a net for each stage follows Zhang et al. Their U-Net is that of Ronneberger et al. 2015 (unet2d.py). They
do not describe their 3D FCN with a long skip connection, so fcn3d.py is our design.
"""

import collections
import pathlib
import re

import h5py
import tensorflow as tf

from kits_tf.config import CascadeConfig
from kits_tf.errors import InputError, one_line
from kits_tf.models import fcn3d, unet2d


def channels(stage: str) -> int:
    """Returns the number of input channels of a stage's net: 2 for tumor2d (CT and kidney mask), else 1 (CT)."""
    return 2 if stage == "tumor2d" else 1


def build(config: CascadeConfig, stage: str, precision: str = "float32", replicas: int = 1) -> tf.keras.Model:
    """Builds a stage's net with random initialization.

    Args:
        stage: one of config.STAGES.
        precision: Keras dtype policy of the layers: "float32", "mixed_bfloat16" or "mixed_float16". Weights, batch
            statistics, logits and probabilities are always float32.
        replicas: number of replicas that train together; with several, batch statistics are computed over all of them.

    Returns:
        tf.keras.Model with one output channel, float32 probabilities. They belong to the first channel of its layer
        "logits", which has config.outputs(stage) channels.
    """
    net, usual = config.stage(stage).net, tf.keras.mixed_precision.global_policy()
    normalization = "synchronized" if net.normalization == "batch" and replicas > 1 else None
    tf.keras.mixed_precision.set_global_policy(precision)
    try:
        if stage == "tumor3d":
            return fcn3d.build(net, stage, normalization, outputs=config.outputs(stage))
        return unet2d.build((*config.input_shape(stage), channels(stage)), net, stage, normalization)
    finally:
        tf.keras.mixed_precision.set_global_policy(usual)


def load(config: CascadeConfig, stage: str, path: str | pathlib.Path) -> tf.keras.Model:
    """Builds a stage's net and loads its trained weights from a file.

    Raises:
        InputError: if the weights cannot be read, or belong to another net.
    """
    net = build(config, stage)
    try:
        differs = _difference(net, path)  # Keras ignores arrays that the net has no use for
        if differs:
            raise ValueError(differs)
        net.load_weights(str(path))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read as weights of the {stage} net ({one_line(error)})") from error
    return net


def _difference(net, path):
    """Returns a phrase for the first array in which a weights file differs from a net, or None.

    The file has the arrays under layers/<class>_<number>/vars/<number>, the classes in snake case.
    """
    own, numbers = {}, collections.Counter()
    for layer in net.layers:
        kind = type(layer).__name__.lower()
        own |= {(kind, numbers[kind], place): (f"array {place} of layer {layer.name}", tuple(weight.shape))
                for place, weight in enumerate(layer.weights)}
        numbers[kind] += 1
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item.shape}) if isinstance(item, h5py.Dataset) else None)
    strange = []
    for name, shape in found.items():
        parts = re.fullmatch(r"layers/(\w+?)(?:_(\d+))?/vars/(\d+)", name)
        key = (parts[1].replace("_", ""), int(parts[2] or 0), int(parts[3])) if parts else None
        what, expected = own.pop(key, (name, None))
        if expected is None:
            strange.append(f"{name} is of no layer of the net")
        elif shape != expected:
            return f"{what} has shape {shape}, expected {expected}"
    return next((f"{what} is missing" for what, _ in own.values()), next(iter(strange), None))


def logits_model(model: tf.keras.Model) -> tf.keras.Model:
    """Returns a model with the same layers and weights that ends in logits, as the losses need them."""
    return tf.keras.Model(model.input, model.get_layer("logits").output, name=f"{model.name}_logits")
