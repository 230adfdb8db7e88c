"""Counts the floating-point operations of the nets."""

import math

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # Keras's, by precision


def shape_of(config, stage):
    """Returns the shape of a net's input in one call of the cascade, batch included."""
    if stage == "tumor3d":
        return (1, *config.tumor3d.tile_voxels, 1)
    from kits_tf.cascade.module import net_shape

    return (config.stage(stage).predict_batch, *net_shape(stage, config))


def operations(model, shape):
    """Returns the floating-point operations of a net's convolutions, counting two per product."""
    import tensorflow as tf

    total = 0
    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    outputs = tf.keras.Model(model.input, [layer.output for layer in layers])
    concrete = tf.function(lambda image: outputs(image, training=False)).get_concrete_function(
        tf.TensorSpec(shape, tf.float32))
    for layer, output in zip(layers, tf.nest.flatten(concrete.structured_outputs), strict=True):
        total += 2 * math.prod(output.shape[:-1]) * math.prod(layer.kernel.shape)
    return total
