"""The nets of the five stages, as Keras models from window-scaled images to probabilities.

    build(config, "fine")           (n, y, x, 1) -> (n, y, x, 1), 2D U-Net; correction reads y, x as z, y
    build(config, "tumor2d")        (n, y, x, 2) -> (n, y, x, 1), 2D U-Net; channels are CT and kidney mask
    build(config, "tumor3d")        (n, z, y, x, 1) -> the same shape, 3D FCN, for any multiple of (2, 4, 4) voxels

Which net does what follows Zhang et al.; their U-Net is Ronneberger et al. 2015 (unet2d.py), their 3D FCN with a long
skip connection is only named, so fcn3d.py is ours.
"""

import pathlib

import tensorflow as tf

from kits_tf.config import CascadeConfig
from kits_tf.errors import InputError
from kits_tf.models import fcn3d, unet2d


def channels(stage: str) -> int:
    """How many channels a stage's net reads: CT, and for tumor2d the kidney mask too."""
    return 2 if stage == "tumor2d" else 1


def build(config: CascadeConfig, stage: str, precision: str = "float32", replicas: int = 1) -> tf.keras.Model:
    """A stage's net with fresh weights.

    Args:
        config: CascadeConfig.
        stage: one of config.STAGES.
        precision: what its layers compute in, a Keras policy: "float32", "mixed_bfloat16" or "mixed_float16". Weights,
            batch statistics, logits and probabilities are float32 in each.
        replicas: how many copies train together; batch statistics are those of all.

    Returns:
        tf.keras.Model whose output is float32 probabilities, one channel: those of the first of the
        config.outputs(stage) channels of its layer "logits".
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


def load(config: CascadeConfig, stage: str, path: str | pathlib.Path, precision: str = "float32") -> tf.keras.Model:
    """A stage's net with the weights that training left in a file.

    Raises:
        InputError: if they cannot be read, or are another net's.
    """
    net = build(config, stage, precision)
    try:
        net.load_weights(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as weights of the {stage} net "
                         f"({' '.join(str(error).split())[:200]})") from error
    return net


def logits_model(model: tf.keras.Model) -> tf.keras.Model:
    """The same layers and weights, ending before the sigmoid: what the losses need."""
    return tf.keras.Model(model.input, model.get_layer("logits").output, name=f"{model.name}_logits")
