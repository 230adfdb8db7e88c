"""Splits a prediction's time into the nets' forward passes, the rest of the cascade, reading, writing and startup.

    python -m benchmarks.predict [--preset=paper] [--slices=85]

Runs the cascade of benchmarks/untrained.py on a scan from benchmarks/scans.py. Nets that count their calls give the
number of forward passes, which are then timed alone.
"""

import collections
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
flags.DEFINE_enum("preset", "paper", list(configs.PRESETS), "whose nets and settings")
flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "what the nets compute in")
flags.DEFINE_integer("rounds", 5, "how often each is timed", lower_bound=1)
flags.DEFINE_integer("slices", scans.SLICES, "of 5 mm", lower_bound=1)
CALLS = collections.Counter()  # calls of the nets, by stage and input shape


def forward_passes(config, volume):
    """Counts the cascade's calls of each net on a scan, by (stage, input shape)."""
    import tensorflow as tf

    from kits_tf.cascade.module import segment

    def counting(stage):
        above = scans.above(stage)

        def note(image):
            CALLS[stage, image.shape] += 1
            return (image[..., :1] > above).astype("float32")

        return lambda image: tf.ensure_shape(tf.numpy_function(note, [image], tf.float32), [*image.shape[:-1], 1])

    CALLS.clear()
    spies = {stage: counting(stage) for stage in configs.STAGES}
    tf.function(lambda voxels, spacing: segment(spies, voxels, spacing, config))(
        tf.constant(volume.voxels), tf.constant(volume.spacing_mm, tf.float32))
    return dict(CALLS)


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    config, precision, rounds = configs.PRESETS[FLAGS.preset], FLAGS.precision, FLAGS.rounds
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        scan_path = scans.write_case(folder / "study", slices=FLAGS.slices)
        command = [sys.executable, "-m", "benchmarks.untrained", f"--preset={FLAGS.preset}",
                   f"--output={folder / 'export'}"]
        tables.watched(command)
        whole = [tables.watched([sys.executable, "predict.py", f"--model={folder / 'export'}",
                                 f"--precision={precision}", f"--input={scan_path}",
                                 f"--output={folder / f'labels{number}'}"])
                 for number in range(rounds)]

        began = time.perf_counter()
        quiet_tensorflow()
        import tensorflow as tf
        importing = time.perf_counter() - began

        from kits_tf.reporting.overlay import draw_overlay
        from kits_tf.scans.nifti import read_volume, write_labels
        from kits_tf.serving.predictor import Predictor

        began = time.perf_counter()
        predictor = Predictor(folder / "export", precision=precision)
        loading = time.perf_counter() - began
        volume = read_volume(scan_path)
        began = time.perf_counter()
        labels = predictor.predict(volume)
        first = time.perf_counter() - began

        calls = forward_passes(config, volume)
        model = tf.saved_model.load(str(predictor.path))
        images = {key: tf.random.stateless_uniform(key[1], (5, 6)) for key in calls}

        def passes():
            for (stage, shape), count in calls.items():
                for _ in range(count):
                    model.signatures[stage](image=images[stage, shape])["probabilities"].numpy()

        def write():
            write_labels(folder / "labels.nii.gz", labels.voxels, like=scan_path)

        def command_less_start():
            found = predictor.predict(read_volume(scan_path))
            write_labels(folder / "labels.nii.gz", found.voxels, like=scan_path)

        seconds = tables.alternate(rounds, passes=passes, predict=lambda: predictor.predict(volume),
                                   read=lambda: read_volume(scan_path), write=write,
                                   draw=lambda: draw_overlay(folder / "x.png", volume, labels, "case"),
                                   all=command_less_start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    rows = [("predict.py, NIfTI to NIfTI, picture and report", f"{statistics.median(s for s, _ in whole):.1f} s",
             f"{max(mib for _, mib in whole):.0f} MiB at the peak"),
            ("start-up: all of this but the cascade",
             f"{statistics.median(s for s, _ in whole) - median['predict']:.1f} s", "once a run"),
            ("importing TensorFlow", f"{importing:.1f} s", "once"), ("loading the export", f"{loading:.1f} s", "once"),
            ("first prediction", f"{first:.1f} s", "once: graph optimization comes on top"),
            ("reading, cascade, writing", f"{median['all']:.2f} s",
             f"{tables.ratio(seconds['all'], seconds['passes']):.2f} of the forward passes"),
            ("the cascade", f"{median['predict']:.2f} s",
             f"{tables.ratio(seconds['predict'], seconds['passes']):.2f} of the forward passes"),
            ("forward passes alone, in float32", f"{median['passes']:.2f} s",
             ", ".join(f"{count} {stage} {'x'.join(map(str, shape))}" for (stage, shape), count in calls.items())),
            ("reading", f"{median['read']:.2f} s", ""), ("writing labels", f"{median['write']:.2f} s", ""),
            ("drawing the picture", f"{median['draw']:.2f} s", "")]
    tables.table("A prediction and its parts", ("what", "median", ""), rows,
                 f"`python -m benchmarks.predict --precision={precision}`: preset {FLAGS.preset}, untrained nets, "
                 f"{FLAGS.slices} x 512 x 512 voxels of 5 x 1.04 x 1.04 mm, medians of {rounds}.")


if __name__ == "__main__":
    app.run(main)
