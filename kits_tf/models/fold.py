"""Folds batch normalization into the preceding convolutions, for prediction.

A trained batch norm is an affine map per channel, so it can be merged into the kernel and bias of the convolution. This
saves one pass over every activation, which on a CPU costs as much as a small convolution. TensorFlow's graph optimizer
does this for some kernels only, and not in 3D.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from kits_tf import models
from kits_tf.config import CascadeConfig


def folded(model: tf.keras.Model, config: CascadeConfig, stage: str, precision: str = "float32"
           ) -> tf.keras.Model:
    """Returns a stage's trained net without normalization layers; its output is the same up to float rounding.

    Args:
        model: Keras model from models.build for this config and stage.
        stage: one of config.STAGES.
        precision: computation precision of the folded net, as in models.build.

    Returns:
        tf.keras.Model; `model` itself, in its own precision, if the config has no normalization.
    """
    settings = config.stage(stage)
    if settings.net.normalization == "none":
        return model
    plain = dataclasses.replace(settings, net=dataclasses.replace(settings.net, normalization="none"))
    slim = models.build(dataclasses.replace(config, **{stage: plain}), stage, precision)
    norms = {layer.name: layer for layer in model.layers if layer.name.endswith("_norm")}
    for layer in slim.layers:
        norm = norms.get(layer.name.removesuffix("_conv") + "_norm")
        weights = model.get_layer(layer.name).get_weights()
        if norm is not None and layer.name.endswith("_conv"):
            vectors = np.stack(norm.get_weights())
            gain, (_, beta, mean, _) = gain_of(vectors, norm.epsilon), vectors.astype(np.float64)
            weights = [weights[0] * gain, beta - mean * gain]
        layer.set_weights(weights)
    return slim


def gain_of(vectors: np.ndarray, epsilon: float) -> np.ndarray:
    """Returns the factor per channel, float64, of a batch norm with `vectors` (4, channels): gamma, beta, mean,
    variance."""
    gamma, _, _, variance = vectors.astype(np.float64)
    return gamma / np.sqrt(variance + epsilon)
