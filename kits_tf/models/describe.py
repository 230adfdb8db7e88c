"""Describes the nets of a cascade in a table: input shape, filters, parameters, receptive field and loss."""

import functools

import tensorflow as tf

from kits_tf import config as configs
from kits_tf import models


def receptive_field(model: tf.keras.Model) -> tuple[int, ...]:
    """Computes the receptive field: how many input voxels can affect one output voxel, along each spatial axis.

    Walks from the output back to the input and computes for every layer which of its input voxels it reads. Where
    branches join, the union of their intervals is used. Because pooling makes the field depend on the position, the
    result is the maximum over output positions.

    Returns:
        tuple of ints, voxels per spatial axis.
    """
    makers = {id(layer.output): layer for layer in model.layers}
    spatial = len(model.inputs[0].shape) - 2
    return tuple(max(stop - start for start, stop in (_reads(model, makers, axis, place) for place in range(64, 128)))
                 for axis in range(spatial))


def _reads(model, makers, axis, place):
    """Returns the half-open interval of input voxels along one axis that output voxel `place` reads."""

    @functools.cache
    def walk(tensor_id, start, stop):
        layer = makers[tensor_id]
        if isinstance(layer, tf.keras.layers.InputLayer):
            return start, stop
        start, stop = _layer_reads(layer, axis, start, stop)
        sources = layer.input if isinstance(layer.input, (list, tuple)) else [layer.input]
        found = [walk(id(source), start, stop) for source in sources]
        return min(low for low, _ in found), max(high for _, high in found)

    return walk(id(model.outputs[0]), place, place + 1)


def _layer_reads(layer, axis, start, stop):
    if isinstance(layer, (tf.keras.layers.Conv2D, tf.keras.layers.Conv3D)):
        reach = layer.kernel_size[axis] // 2  # odd kernels, stride 1, padded
        return start - reach, stop + reach
    if isinstance(layer, (tf.keras.layers.MaxPooling2D, tf.keras.layers.MaxPooling3D)):
        factor = layer.pool_size[axis]
        return start * factor, stop * factor
    if hasattr(layer, "factors"):  # blocks.Repeat
        factor = layer.factors[axis]
        return start // factor, -(-stop // factor)
    return start, stop


def table(config: configs.CascadeConfig) -> str:
    """Returns a text table of the five nets of a cascade, one line each. Builds every net."""
    rows = [("stage", "net", "input", "filters", "normalization", "parameters", "receptive field", "loss")]
    for stage in configs.STAGES:
        settings = config.stage(stage)
        model = models.build(config, stage)
        if stage == "tumor3d":
            kind, filters = "3D FCN", settings.net.filters
        else:
            kind = "2D U-Net"
            filters = [min(settings.net.base_filters * 2**level, settings.net.max_filters)
                       for level in range(settings.net.levels)]
        weights = {"Dice": settings.training.dice_weight, "Dice per example": settings.training.example_dice_weight,
                   "cross-entropy": settings.training.cross_entropy_weight}
        rows.append((
            stage, kind, " x ".join(map(str, (*config.input_shape(stage), models.channels(stage)))),
            "-".join(map(str, filters)), settings.net.normalization, f"{model.count_params():,}",
            " x ".join(map(str, receptive_field(model))),
            " + ".join(f"{weight:g} {name}" for name, weight in weights.items() if weight),
        ))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)
