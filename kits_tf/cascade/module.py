"""The cascade as one TensorFlow function: takes a CT volume and its spacing, returns labels and a report.

The graph runs no Python code. One graph handles any volume size and any number of kidneys. The volume stays int16 on
its own grid. The method's normalized volume is never built as a whole, only the blocks that a net sees
(ops/resample.py).
"""

import hashlib
import json
from collections.abc import Collection, Mapping

import tensorflow as tf

from kits_tf import config as configs
from kits_tf import labels as classes
from kits_tf import models
from kits_tf.cascade import confidence, kidney_steps, lesion_steps
from kits_tf.cascade.average import average
from kits_tf.cascade.bfloat16 import in_bfloat16
from kits_tf.cascade.tiling import Net
from kits_tf.labels import NORMAL_KIDNEYS
from kits_tf.ops import resample

WIDE = 16  # filters; narrower nets are slower in bfloat16 than in float32, because of the casts (benchmarks/README.md)


def segment(nets: dict[str, Net], volume: tf.Tensor, spacing_mm: tf.Tensor,
            config: configs.CascadeConfig) -> dict[str, tf.Tensor]:
    """Runs the whole cascade.

    Args:
        nets: dict from each name in config.STAGES to a function from windowed float32 (n, y, x, channels) or
            (n, z, y, x, 1) to probabilities of the same shape with one channel. The functions are called only with the
            batch and tile shapes of the config.
        volume: int16 (z, y, x), Hounsfield units, canonical orientation.
        spacing_mm: float32 (3,), voxel size along z, y, x.

    Returns:
        dict with `labels`, uint8 (z, y, x), and the report:

        kidneys_coarse        int32, components of the coarse mask that are large enough to be kidneys
        coarse_empty          bool, whether the coarse mask is empty
        correction_used       bool, whether the correction net ran
        kidneys               int32, components passed to the fine net
        kidney_parts_dropped  int32, parts of the fine result that are not connected to the mask before it
        smaller_parts_dropped int32, parts other than the config.most_kidneys largest ones
        tumor_fallback_used   bool, whether tumor2d searched the whole kidney region
        lesions_kept, lesions_dropped  int32, tumor3d's lesions that touch a kidney, and those that do not
        kidney_ml, tumor_ml   float32, volumes of the two label classes (kidney without tumor)
        coarse_components_ml  float32 vector, the volume of every component of the coarse mask
        kidneys_found, tumors_found  float32 (components, 5), the kidneys (with their tumors) and the tumors of the
                              result with their confidence: confidence.COLUMNS
    """
    shape = tf.shape(volume)
    grid = resample.grid_size(shape, spacing_mm, config.spacing_mm)
    slices_hu = kidney_steps.coarse_slices(volume, grid, config)
    mask = kidney_steps.coarse_mask(nets["coarse"], slices_hu, config)
    scale, offset = kidney_steps.coarse_scale(grid, config)
    found = kidney_steps.find_kidneys(mask, scale, offset, grid, config.kidney_min_voxels)
    kidneys_coarse = tf.shape(found.start)[0]
    coarse_empty = tf.logical_not(tf.reduce_any(mask))
    abnormal = tf.not_equal(kidneys_coarse, NORMAL_KIDNEYS)

    def corrected():
        centre = tf.cond(coarse_empty, lambda: kidney_steps.body_centre(slices_hu),
                         lambda: kidney_steps.centroid(mask))
        centre = (centre + 0.5) * scale - offset - 0.5
        return kidney_steps.correct(nets["correction"], volume, grid, centre, found, config)

    kidneys = tf.cond(abnormal, corrected, lambda: found)
    count = tf.shape(kidneys.start)[0]

    def outline():
        return _outline(nets, volume, grid, kidneys, config)

    def nothing():
        return tf.zeros(shape, tf.uint8), tf.zeros(2), {
            "lesions_kept": 0, "lesions_dropped": 0, "tumor_fallback_used": False, "kidney_parts_dropped": 0,
            "smaller_parts_dropped": 0,
            "kidneys_found": tf.zeros((0, len(confidence.COLUMNS))),
            "tumors_found": tf.zeros((0, len(confidence.COLUMNS)))}

    labels, voxels, report = tf.cond(count > 0, outline, nothing)
    voxel_ml = tf.cast(tf.reduce_prod(tf.cast(spacing_mm, tf.float64)) / 1000.0, tf.float32)
    normalized_ml = float(config.spacing_mm[0] * config.spacing_mm[1] * config.spacing_mm[2]) / 1000.0
    return {
        "labels": tf.ensure_shape(labels, (None, None, None)),
        "kidneys_coarse": kidneys_coarse,
        "coarse_empty": coarse_empty,
        "correction_used": abnormal,
        "kidneys": count,
        **report,
        "kidney_ml": voxels[0] * voxel_ml,
        "tumor_ml": voxels[1] * voxel_ml,
        "coarse_components_ml": tf.cast(found.voxels, tf.float32) * normalized_ml,
    }


def _count(labels, class_id):
    """Returns the number of voxels of a class, float32. Counts by slice: counting widens each voxel to eight bytes."""
    counts = tf.map_fn(lambda plane: tf.math.count_nonzero(tf.equal(plane, class_id)), labels,
                       parallel_iterations=1, fn_output_signature=tf.int64)
    return tf.cast(tf.reduce_sum(counts), tf.float32)


def _outline(nets, volume, grid, kidneys, config):
    """Runs all steps after the kidneys are found, in one region around them.

    Returns:
        (labels, voxels, report): voxels is float32 (2,), the numbers of kidney and tumor voxels.
    """
    region = kidney_steps.region_around(kidneys, volume, grid, config)
    answers = kidney_steps.predict_kidneys(nets["fine"], region, config, config.fine.predict_batch)
    probabilities, dropped = kidney_steps.keep_found(tf.nn.relu(answers), region)
    probabilities, smaller = kidney_steps.keep_largest(probabilities, config.most_kidneys)
    tumor, foreground, report = lesion_steps.segment_tumor(nets, region, probabilities, config)
    shape = tf.shape(volume)
    found = {name: confidence.findings(one, kidney_steps.THRESHOLD, region, shape, coefficients, config)
             for name, one, coefficients in (("kidneys_found", foreground, config.kidney_confidence),
                                             ("tumors_found", tumor, config.tumor_confidence))}
    foreground, start = resample.resample_back(foreground, grid, region.origin, shape, kidney_steps.THRESHOLD)
    tumor, _ = resample.resample_back(tumor, grid, region.origin, shape, kidney_steps.THRESHOLD)
    block = tf.where(tumor, tf.constant(classes.TUMOR, tf.uint8), tf.cast(foreground, tf.uint8) * classes.KIDNEY)
    labels = tf.pad(block, tf.stack([start, shape - start - tf.shape(block)], axis=1))
    return labels, tf.stack([_count(block, classes.KIDNEY), _count(block, classes.TUMOR)]), {
        **report, **found, "kidney_parts_dropped": dropped, "smaller_parts_dropped": smaller}


class Cascade(tf.Module):
    """Holds the nets' variables and the exported functions.

    Attributes:
        config: CascadeConfig.
        contents: dict of JSON values: the argument `contents`, the weights' SHA-256, and the list `bfloat16`.
        net_variables: list of the nets' variables, each once.
        texts: dict of the JSON texts that `about` returns, `config` and `contents`.
        functions: dict from signature name to concrete function. `serving_default` and `xla` run `segment` with plain
            and with XLA-compiled nets, `bfloat16` with the nets of some stages in bfloat16. Each stage name runs that
            stage's net alone, from `image` to `probabilities`.
            `about` returns `config` and `contents`, for clients that reach the model only over the network.

    Args:
        nets: dict from each name in config.STAGES to a Keras model or another TensorFlow callable, as in `segment`, or
            to a list of them, whose probabilities are averaged.
        mirrored: dict from stage to the axes along which images are mirrored for averaging, as average.mirrored_axes
            returns it; None for no mirroring.
        contents: dict of JSON values that `about` returns beside the config; the attribute adds the weights'
            SHA-256 and, as `bfloat16`, the list of the stages below.
        bfloat16: the stages whose nets compute in bfloat16 in the signature of that name; None for wide_stages.

    Raises:
        ValueError: if a stage has no net, or a net's output does not have its input's shape with one channel.
    """

    def __init__(self, nets: Mapping[str, Net | list[Net]], config: configs.CascadeConfig,
                 mirrored: dict[str, str] | None = None, contents: dict | None = None,
                 bfloat16: Collection[str] | None = None) -> None:
        super().__init__(name="kits_tf_cascade")
        missing = [stage for stage in configs.STAGES if nets.get(stage) in (None, [])]
        if missing:
            raise ValueError(f"nets must include {', '.join(configs.STAGES)}; {', '.join(missing)} missing")
        self.config = config
        mirrored = mirrored or dict.fromkeys(configs.STAGES, "")
        plain = {}
        for stage in configs.STAGES:
            given = nets[stage]
            members = given if isinstance(given, list) else [given]
            plain[stage] = average([_checked(stage, member) for member in members], stage, mirrored[stage])
        self._nets = plain
        compiled = {stage: tf.function(net, jit_compile=True, autograph=False) for stage, net in plain.items()}
        low = wide_stages(config) if bfloat16 is None else [stage for stage in configs.STAGES if stage in bfloat16]

        def alone(stage):
            return tf.function(lambda image: {"probabilities": plain[stage](image)}, autograph=False, input_signature=[
                tf.TensorSpec((None, *net_shape(stage, config)), tf.float32, name="image")]).get_concrete_function()

        self.functions = {"serving_default": self._whole(plain), "xla": self._whole(compiled),
                          "bfloat16": self.computing_in_bfloat16(low),
                          **{stage: alone(stage) for stage in configs.STAGES}}
        # Keep the variables, not the Keras models: on Keras 3 a tf.Module does not track a model's variables.
        held = {id(variable): variable for traced in self.functions.values() for variable in traced.variables}
        self.net_variables = list(held.values())
        self.contents = {**(contents or {}), "bfloat16": low, "weights_sha256": _digest(self.net_variables)}
        self.texts = {"config": configs.to_json(config), "contents": json.dumps(self.contents, indent=2) + "\n"}
        self.functions["about"] = tf.function(
            lambda: {name: tf.constant(text) for name, text in self.texts.items()},
            input_signature=[], autograph=False).get_concrete_function()

    def computing_in_bfloat16(self, stages: Collection[str]) -> tf.types.experimental.ConcreteFunction:
        """Returns `segment` as a function in which the nets of some stages compute in bfloat16."""
        return self._whole({stage: in_bfloat16(net) if stage in stages else net for stage, net in self._nets.items()})

    def _whole(self, nets):
        signature = [tf.TensorSpec((None, None, None), tf.int16, name="volume"),
                     tf.TensorSpec((3,), tf.float32, name="spacing_mm")]
        return tf.function(lambda volume, spacing_mm: segment(nets, volume, spacing_mm, self.config),
                           input_signature=signature, autograph=False).get_concrete_function()


def wide_stages(config: configs.CascadeConfig) -> list[str]:
    """Returns the stages whose nets begin with at least WIDE filters."""
    return [stage for stage in configs.STAGES if _filters(config.stage(stage).net) >= WIDE]


def _filters(net):
    return net.filters[0] if isinstance(net, configs.FCN3DConfig) else net.base_filters


def _digest(variables):
    """Returns the SHA-256 of the variables' values."""
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()


def net_shape(stage: str, config: configs.CascadeConfig) -> tuple[int, ...]:
    """Returns the input shape of a stage's net in prediction, without batch: (y, x, channels); tumor3d (z, y, x, 1)."""
    shape = config.tumor3d.tile_voxels if stage == "tumor3d" else config.input_shape(stage)
    return (*shape, models.channels(stage))


def _checked(stage, net):
    """Wraps a net as a function of one tensor, in inference mode. Checks the output shape while the graph is built."""

    def call(inputs):
        answer = net(inputs, training=False) if isinstance(net, tf.keras.Model) else net(inputs)
        answer = tf.convert_to_tensor(answer)
        expected = [*inputs.shape[:-1], 1]
        if not answer.shape.is_compatible_with(expected):
            raise ValueError(f"the {stage} net must return shape {expected}, got {answer.shape.as_list()}")
        return tf.ensure_shape(tf.cast(answer, tf.float32), expected)

    return call
