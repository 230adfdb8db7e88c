"""Times a training step of each stage against model.fit with the same Keras model, and the input pipeline.

    python -m benchmarks.training [--preset=demo] [--xla]

First prepares cases from benchmarks/scans.py. model.fit uses the same loss and optimizer. The input pipeline's rate
includes all augmentation and is compared with reading and parsing the same records alone.
"""

import dataclasses
import os
import pathlib
import statistics
import sys
import tempfile
import time

from absl import app, flags

from benchmarks import scans, tables
from kits_tf import config as configs
from kits_tf.quiet import quiet_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_enum("preset", "demo", list(configs.PRESETS), "whose nets, records and augmentation")
flags.DEFINE_multi_enum("stage", list(configs.STAGES), configs.STAGES, "which stages")
flags.DEFINE_boolean("xla", False, "time a compiled step too, as train.py --xla makes it")
flags.DEFINE_integer("rounds", 7, "steps of either kind that are timed", lower_bound=5)
CASES, STEPS = 5, 4  # several steps per call of fit, because its callbacks and epochs take time too


def rate(batches, size, seconds=4.0):
    """Returns a dataset's examples per second, after its first few batches."""
    stream = iter(batches)
    for _ in range(6):  # skips prefetched batches
        next(stream)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        next(stream)
        count += size
    return count / (time.perf_counter() - began)


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    quiet_tensorflow()
    import tensorflow as tf

    from kits_tf.inputs import pipeline
    from kits_tf.training.step import TrainStep
    from kits_tf.training.task import make_task

    config, cores = configs.PRESETS[FLAGS.preset], len(os.sched_getaffinity(0))
    one_device, rows, feeding = tf.distribute.get_strategy(), [], []
    with tempfile.TemporaryDirectory() as scratch:
        study, data = (pathlib.Path(scratch) / name for name in ("study", "data"))
        for number in range(CASES):
            scans.write_case(study, number)
        tables.watched([sys.executable, "-m", "data_prep", f"--input={study}", f"--output={data}",
                        f"--preset={FLAGS.preset}"])
        for stage in FLAGS.stage:
            settings = config.stage(stage)
            longer = dataclasses.replace(settings, training=dataclasses.replace(settings.training, epochs=10**6))
            task = make_task(dataclasses.replace(config, **{stage: longer}), stage, data, 0, 0)
            size = task.training.batch_size
            image, target, _ = next(iter(task.training_batches()))
            step = TrainStep(task, one_device)
            steps = {"ours": step, **({"compiled": TrainStep(task, one_device, compiled=True)} if FLAGS.xla else {})}
            _, net, optimizer = task.build()
            loss = task.loss()
            net.compile(optimizer=optimizer, loss=lambda labels, logits, loss=loss: loss(labels, logits))
            endless = tf.data.Dataset.from_tensors((image, target)).repeat()
            seconds = tables.alternate(
                FLAGS.rounds,
                fit=lambda net=net, endless=endless: net.fit(endless, steps_per_epoch=STEPS, verbose=0),
                **{name: lambda step=step, image=image, target=target: [step(image, target, False).numpy()
                                                                        for _ in range(STEPS)]
                   for name, step in steps.items()})
            rows.append((stage, size, f"{tables.ratio(seconds['ours'], seconds['fit']):.2f}",
                         f"{statistics.median(seconds['ours']) / STEPS:.3f}",
                         f"{statistics.median(seconds['fit']) / STEPS:.3f}",
                         *([f"{statistics.median(seconds['compiled']) / STEPS:.3f}"] if FLAGS.xla else [])))

            full = rate(task.training_batches(), size)
            shape, cases = config.record_shape(stage), [path.stem for path in task.train]
            draw = pipeline.drawn_examples(config, stage, task.train, 0)(tf.constant(0, tf.int64)).repeat()
            parsed = draw.map(lambda one, shape=shape, cases=cases: pipeline.decode(one, shape, cases),
                              num_parallel_calls=tf.data.AUTOTUNE).batch(size, drop_remainder=True).prefetch(4)
            alone = rate(parsed, size)
            # The pipeline and the step share the cores, so the waiting time is measured, not derived.
            stream, waited, began = iter(task.training_batches()), 0.0, None
            for number in range(FLAGS.rounds + 6):
                asked = time.perf_counter()
                image, target, _ = next(stream)
                if number >= 6:
                    began = began or asked
                    waited += time.perf_counter() - asked
                step(image, target, False).numpy()
            share = waited / (time.perf_counter() - began)
            fastest = size * STEPS / min(statistics.median(seconds[name]) for name in steps)
            feeding.append((stage, f"{share:.1%}", f"{full:.0f}", f"{alone:.0f}", f"{fastest:.1f}",
                            f"{cores * fastest / full:.1f}"))
    tables.table("Training step", ("stage", "batch", "times as long as fit", "seconds a step", "fit",
                                   *(["compiled"] if FLAGS.xla else [])), rows,
                 f"`python -m benchmarks.training --preset={FLAGS.preset}`: float32, {STEPS} steps a call, medians of "
                 f"{FLAGS.rounds}.")
    tables.table("Input pipeline", ("stage", "share of the step's time spent waiting", "augmented samples/s alone",
                                    "reading and parsing alone", "samples/s the step takes",
                                    "cores that keep it fed"), feeding,
                 f"`python -m benchmarks.training --preset={FLAGS.preset}`: the pipeline and the step share the "
                 f"{cores} cores of the CPU; the last column takes a pipeline on twice the cores to be twice as fast.")


if __name__ == "__main__":
    app.run(main)
