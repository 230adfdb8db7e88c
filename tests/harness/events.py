"""Reads the TensorBoard events of a training run."""

import tensorflow as tf

from kits_tf.files import runs


def read(run_dir, stage="fine"):
    """Returns every value of fold 0 of a stage, as a dict from name to a dict from step to array."""
    found = {}
    for path in sorted((runs.stage_folder(run_dir, stage, 0) / "events").glob("events.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
    return found


def step_losses(run_dir, stage="fine"):
    """Returns the loss of every step, in order."""
    return [float(loss) for _, loss in sorted(read(run_dir, stage)["step/loss"].items())]
