"""Lowers each net's forward pass and training step to XLA's HLO, for a machine without TensorFlow.

    python -m benchmarks.gpu.lower --output=lowered [--preset=paper]
    python benchmarks/gpu/measure.py lowered                # on that machine: needs only JAX

The forward pass is that of the export, with folded batch norms and the cascade's batch size. The step is the loss and
its gradients. Weights are not written: both machines generate the same ones (drawn.py). The float32 results of this
machine, probabilities or loss, are written for comparison.
"""

import json
import pathlib

import numpy as np
from absl import app, flags

from benchmarks.gpu.drawn import drawn
from benchmarks.work import POLICIES, operations, shape_of
from kits_tf import config as configs
from kits_tf.files.own import staged
from kits_tf.quiet import quiet_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_enum("preset", "paper", list(configs.PRESETS), "whose nets and settings")
flags.DEFINE_string("output", None, "folder to write to", required=True)
flags.DEFINE_multi_enum("stage", list(configs.STAGES), configs.STAGES, "which stages")
flags.DEFINE_multi_enum("precision", ["float32", "bfloat16", "float16"], ["float32", "bfloat16", "float16"],
                        "what the nets compute in; steps in float32 and bfloat16 alone, as float16 scales its loss")


def forward_of(model):
    """Returns the function from an image to a net's output."""
    import tensorflow as tf

    return tf.function(lambda image: model(image, training=False), jit_compile=True)


def step_of(task):
    """Returns the function from an image and its target to a training step's loss and gradients."""
    import tensorflow as tf

    from kits_tf.training.step import tf_variables

    model, logits, _ = task.build()
    loss = task.loss()

    def step(image, target):
        with tf.GradientTape() as tape:
            value = loss(tf.cast(target > 0.0, tf.float32), logits(image, training=True))
        return value, tape.gradient(value, tf_variables(model.trainable_variables))

    return tf.function(step, jit_compile=True)


def lower(function, shapes, output, name, **facts):
    """Writes NAME.hlo, and NAME.json with the shapes of its arguments: inputs, then weights in the order of capture.

    In float32, also writes NAME.npy with the first output on this machine.
    """
    import tensorflow as tf

    inputs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    concrete = function.get_concrete_function(*inputs)
    by_handle = {id(variable.handle): variable for variable in concrete.graph.variables}
    weights = [by_handle[id(handle)] for handle in concrete.captured_inputs]
    for number, weight in enumerate(weights, len(inputs)):
        weight.assign(drawn(number, weight.shape))
    ir = function.experimental_get_compiler_ir(*inputs)(stage="hlo_serialized")
    with staged(output) as folder:
        (folder / f"{name}.hlo").write_bytes(ir)
        if facts["precision"] == "float32":
            answer = function.python_function(*[drawn(number, shape) for number, shape in enumerate(shapes)])
            np.save(folder / f"{name}.npy", tf.nest.flatten(answer)[0].numpy())
        arguments = [list(value.shape) for value in (*inputs, *weights)]
        (folder / f"{name}.json").write_text(json.dumps({**facts, "arguments": arguments}) + "\n")


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    quiet_tensorflow()

    from kits_tf import models
    from kits_tf.models.fold import folded
    from kits_tf.training.task import Task

    policies = {**POLICIES, "float16": "mixed_float16"}
    config, output = configs.PRESETS[FLAGS.preset], pathlib.Path(FLAGS.output)
    for stage in FLAGS.stage:
        for precision in FLAGS.precision:
            shape = shape_of(config, stage)
            model = folded(models.build(config, stage), config, stage, policies[precision])
            lower(forward_of(model), [shape], output, f"{stage}_forward_{precision}", stage=stage, does="forward",
                  precision=precision, images=shape[0], operations=operations(model, shape))
            if precision == "float16":
                continue
            task = Task(config, stage, 0, 0, (), (), policies[precision])
            image = (task.training.batch_size, *config.input_shape(stage), models.channels(stage))
            lower(step_of(task), [image, (*image[:-1], config.outputs(stage))], output, f"{stage}_step_{precision}",
                  stage=stage, does="step", precision=precision, images=image[0], operations=0)
        print(f"{stage}: lowered", flush=True)


if __name__ == "__main__":
    app.run(main)
