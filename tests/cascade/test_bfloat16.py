"""Tests nets that compute in bfloat16 with float32 weights, against Keras's policy mixed_bfloat16."""

import numpy as np
import pytest
import tensorflow as tf
from harness.tiny_nets import tiny_config

from kits_tf import models
from kits_tf.cascade.bfloat16 import in_bfloat16
from kits_tf.cascade.module import net_shape, wide_stages
from kits_tf.config import PRESETS
from kits_tf.models.fold import folded


def traced(net, shape):
    return tf.function(in_bfloat16(net), autograph=False).get_concrete_function(tf.TensorSpec(shape, tf.float32))


@pytest.mark.parametrize("stage", ["fine", "tumor3d", "tumor2d"])
def test_a_net_computes_what_keras_computes_in_mixed_bfloat16(stage, same_weights):
    config = tiny_config()
    net = folded(models.build(config, stage), config, stage)
    mixed = folded(models.build(config, stage, "mixed_bfloat16"), config, stage, "mixed_bfloat16")
    mixed.set_weights(net.get_weights())
    shape = (2, *net_shape(stage, config))
    image = tf.random.stateless_uniform(shape, (1, 2))
    low = traced(lambda image: net(image, training=False), shape)
    expected = np.asarray(mixed(image, training=False))
    np.testing.assert_array_equal(low(image), expected)
    assert 0 < np.abs(expected - np.asarray(net(image, training=False))).max() < 0.02


def test_only_the_last_convolution_and_what_follows_it_stay_float32():
    first, last = tf.Variable(tf.ones((3, 3, 1, 4))), tf.Variable(tf.ones((1, 1, 4, 1)))

    def net(image):
        hidden = tf.nn.relu(tf.nn.conv2d(image, first, 1, "SAME"))
        return tf.sigmoid(tf.nn.conv2d(hidden, last, 1, "SAME")) * tf.cast(image > 0.5, tf.float32)

    types = {(operation.type, operation.outputs[0].dtype.name) for operation in
             traced(net, (1, 8, 8, 1)).graph.get_operations() if operation.type in (
                 "Conv2D", "Relu", "Sigmoid", "Greater", "Mul")}
    assert types == {("Conv2D", "bfloat16"), ("Relu", "bfloat16"), ("Conv2D", "float32"), ("Sigmoid", "float32"),
                     ("Greater", "bool"), ("Mul", "float32")}


def test_nets_with_few_filters_stay_float32():
    assert wide_stages(PRESETS["paper"]) == ["coarse", "correction", "fine", "tumor3d", "tumor2d"]
    assert wide_stages(PRESETS["release"]) == ["fine", "tumor2d"]
