"""Compares the fused batch norm with its formula in float64 and with Keras's layer."""

import numpy as np
import pytest
import tensorflow as tf

from kits_tf.models.normalization import BatchNormalization

pytestmark = pytest.mark.usefixtures("same_weights")

SHAPES = ((3, 6, 5, 4), (2, 3, 6, 5, 4))
MOMENTUM = 0.9


def drawn(shape, seed=0):
    draw = np.random.default_rng(seed)
    return (draw.normal(size=shape) * (1, 2, 3, 4) + (0, 1, -2, 5)).astype(np.float32)


def made(shape, cls=BatchNormalization, **settings):
    """Returns a layer whose four weights are neither ones nor zeros."""
    layer = cls(momentum=MOMENTUM, **settings)
    layer.build(shape)
    draw = np.random.default_rng(1)
    layer.set_weights([draw.uniform(0.5, 2.0, 4).astype(np.float32) for _ in layer.get_weights()])
    return layer


def by_hand(values, weights, training, epsilon):
    """Returns the outputs and the updated weights; the moving variance uses the unbiased variance."""
    gamma, beta, mean, variance = (weight.astype(np.float64) for weight in weights)
    values, axes = values.astype(np.float64), tuple(range(values.ndim - 1))
    if training:
        seen = values.mean(axes), values.var(axes)
        after = [MOMENTUM * mean + (1 - MOMENTUM) * seen[0],
                 MOMENTUM * variance + (1 - MOMENTUM) * values.var(axes, ddof=1)]
    else:
        seen, after = (mean, variance), [mean, variance]
    return (values - seen[0]) / np.sqrt(seen[1] + epsilon) * gamma + beta, [gamma, beta, *after]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False, None])
@pytest.mark.parametrize("graph", [True, False])
def test_it_is_the_formula(shape, training, graph):
    layer, values = made(shape), drawn(shape)
    outputs, after = by_hand(values, layer.get_weights(), training, layer.epsilon)
    unknown = tf.TensorSpec((*[None] * (len(shape) - 1), shape[-1]))
    call = tf.function(lambda x: layer(x, training=training), input_signature=[unknown]) if graph else (
        lambda x: layer(x, training=training))
    np.testing.assert_allclose(call(tf.constant(values)), outputs, atol=1e-5)
    for weight, wanted in zip(layer.get_weights(), after, strict=True):
        np.testing.assert_allclose(weight, wanted, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_the_formula(shape, training):
    layer, values = made(shape), drawn(shape)
    pull = tf.constant(drawn(shape, 2))
    with tf.GradientTape() as tape:
        inputs = tf.constant(values)
        tape.watch(inputs)
        got = tf.reduce_sum(pull * layer(inputs, training=training))
    found = tape.gradient(got, [inputs, *layer.trainable_variables])
    gamma, beta, mean, variance = (tf.constant(weight, tf.float64) for weight in made(shape).get_weights())
    with tf.GradientTape() as tape:
        inputs = tf.constant(values, tf.float64)
        tape.watch([inputs, gamma, beta])
        if training:
            mean, variance = tf.nn.moments(inputs, list(range(len(shape) - 1)))
        outputs = (inputs - mean) / tf.sqrt(variance + layer.epsilon) * gamma + beta
        plain = tf.reduce_sum(tf.cast(pull, tf.float64) * outputs)
    for one, other in zip(found, tape.gradient(plain, [inputs, gamma, beta]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_not_to_be_trained_keeps_its_statistics(shape):
    layer, values = made(shape), drawn(shape)
    layer.trainable = False
    before = layer.get_weights()
    np.testing.assert_array_equal(layer(values, training=True), layer(values, training=False))
    for weight, old in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_is_close_and_keeps_float32_weights(shape, training):
    exact, half = made(shape), made(shape, dtype="mixed_bfloat16")
    values = tf.cast(tf.cast(drawn(shape), tf.bfloat16), tf.float32)
    outputs = half(tf.cast(values, tf.bfloat16), training=training)
    assert outputs.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), exact(values, training=training), rtol=0.01, atol=0.05)
    for weight, wanted in zip(half.get_weights(), exact.get_weights(), strict=True):
        assert weight.dtype == np.float32
        np.testing.assert_allclose(weight, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_synchronized_is_keras_s_own(shape, training):
    ours, keras = (made(shape, cls, synchronized=True)
                   for cls in (BatchNormalization, tf.keras.layers.BatchNormalization))
    values = drawn(shape)
    np.testing.assert_array_equal(ours(values, training=training), keras(values, training=training))
    for weight, wanted in zip(ours.get_weights(), keras.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, wanted)
