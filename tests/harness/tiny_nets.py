"""Keras networks with known output, small enough to be built and exported in a moment."""

import dataclasses

import numpy as np
import tensorflow as tf

from harness.patients import KIDNEY_ABOVE, TUMOR_ABOVE
from kits_tf import config as configs
from kits_tf import models


def tiny_config():
    """Returns a config with the demo's grid and networks of two filters."""
    demo = configs.PRESETS["demo"]
    unet = configs.UNetConfig(base_filters=2, levels=3)
    flat = [stage for stage in configs.STAGES if stage != "tumor3d"]
    changes = {stage: dataclasses.replace(demo.stage(stage), net=unet) for stage in flat}
    tumor3d = dataclasses.replace(demo.tumor3d, net=configs.FCN3DConfig(filters=(2, 3, 4)))
    return dataclasses.replace(demo, preset="tiny", **changes, tumor3d=tumor3d)


def threshold_models(config):
    """Returns Keras networks of one pointwise convolution each: steep sigmoids around the halfway thresholds."""
    nets = {}
    for stage in configs.STAGES:
        above = TUMOR_ABOVE if stage.startswith("tumor") else KIDNEY_ABOVE
        layer = tf.keras.layers.Conv3D if stage == "tumor3d" else tf.keras.layers.Conv2D
        shape = (None, None, None, 1) if stage == "tumor3d" else (*config.input_shape(stage), models.channels(stage))
        net = tf.keras.Sequential([tf.keras.Input(shape), layer(1, 1, activation="sigmoid")])
        kernel, bias = net.weights
        values = np.zeros(kernel.shape, np.float32)
        values[..., 0, 0] = 60.0  # the image; tumor2d's second channel has weight 0
        kernel.assign(values)
        bias.assign([-60.0 * above])
        nets[stage] = net
    return nets
