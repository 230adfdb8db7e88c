"""Threshold networks with a switch for each way a network can be wrong, and the cascade traced with them.

A scan has one HU value per class (patients.py), and a network is a threshold on its window-scaled input. The expected
labels are therefore known, and any other difference comes from the cascade.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from harness.patients import HU, KIDNEY_ABOVE, MARK_BAND, SPACING_MM, TUMOR_ABOVE
from kits_tf import config as configs
from kits_tf.cascade.module import segment


class Nets:
    """Five threshold networks and their switches; switches are variables, so one traced graph serves all tests."""

    def __init__(self):
        self.switches = {
            "coarse_blind": tf.Variable(0.0),  # the coarse network ignores the image left of this fraction
            "fine_marks": tf.Variable(0.0),  # 1: fine detects marks too
            "tumor3d_marks": tf.Variable(0.0),
            "tumor2d_marks": tf.Variable(0.0),
        }
        for stage in configs.STAGES:
            self.switches[f"{stage}_gain"] = tf.Variable(1.0)  # 0: detects nothing
            self.switches[f"{stage}_bias"] = tf.Variable(0.0)  # 1: detects everything
        self.calls = {stage: tf.Variable(0) for stage in configs.STAGES}

    def reset(self):
        for name, switch in self.switches.items():
            switch.assign(1.0 if name.endswith("_gain") else 0.0)
        for count in self.calls.values():
            count.assign(0)

    def set(self, **values):
        self.reset()
        for name, value in values.items():
            self.switches[name].assign(float(value))

    def net(self, stage):
        above = TUMOR_ABOVE if stage.startswith("tumor") else KIDNEY_ABOVE

        def call(inputs):
            self.calls[stage].assign_add(1)
            image = inputs[..., :1]
            answer = tf.cast(image > above, tf.float32)
            if stage == "coarse":
                column = tf.linspace(0.0, 1.0, image.shape[2])[:, tf.newaxis]
                answer *= tf.cast(column >= self.switches["coarse_blind"], tf.float32)
            if f"{stage}_marks" in self.switches:
                mark = tf.cast((image > MARK_BAND[0]) & (image < MARK_BAND[1]), tf.float32)
                answer = tf.maximum(answer, mark * self.switches[f"{stage}_marks"])
            gain, bias = self.switches[f"{stage}_gain"], self.switches[f"{stage}_bias"]
            return tf.clip_by_value(answer * gain + bias, 0.0, 1.0)

        return call


@dataclasses.dataclass
class Cascade:
    """A cascade with its networks."""

    nets: Nets
    config: configs.CascadeConfig
    function: object

    def __call__(self, labels, spacing_mm=SPACING_MM, **switches):
        """Takes labels (or int16 HU) and the networks' switches; returns (labels, report)."""
        self.nets.set(**switches)
        hu = labels if labels.dtype == np.int16 else HU[labels]
        outputs = {name: value.numpy() for name, value in self.function(hu, np.float32(spacing_mm)).items()}
        return outputs.pop("labels"), outputs


def eager(config):
    """Returns a Cascade that is not traced: each call takes a second, but the first one does too."""
    nets = Nets()
    chosen = {stage: nets.net(stage) for stage in configs.STAGES}
    return Cascade(nets, config, lambda volume, spacing_mm: segment(
        chosen, tf.convert_to_tensor(volume), tf.convert_to_tensor(spacing_mm), config))


def traced(config):
    """Returns a Cascade that takes seconds to trace and a fraction of a second for each call."""
    one = eager(config)
    return dataclasses.replace(one, function=tf.function(one.function, autograph=False, input_signature=[
        tf.TensorSpec((None, None, None), tf.int16), tf.TensorSpec((3,), tf.float32)]))

