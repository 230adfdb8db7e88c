"""Writes the files in which a run can be watched: history.csv, a plot of it, TensorBoard events."""

import io
import math
import pathlib

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kits_tf.files import runs
from kits_tf.files.atomic import write_bytes, write_table
from kits_tf.inputs import sheet
from kits_tf.training.failures import written_by_tensorflow
from kits_tf.training.progress import Steps
from kits_tf.training.task import Run

# `dice` is the soft Dice of the training batches, computed during the epoch; `val_dice` is the mean Dice of the
# validation cases. `input_wait` is the fraction of the epoch's step time spent waiting for the next batch.
COLUMNS = ("epoch", "loss", "dice", "val_loss", "val_dice", "samples_per_second", "input_wait", "seconds",
           "learning_rate")
PLOT = "history.png"
PICTURE_EXAMPLES = 6  # validation examples that TensorBoard shows
PICTURES_PER_RUN = 10


def write_history(folder: str | pathlib.Path, history: list[dict]) -> None:
    """Writes history.csv. Values that were not measured, or that an older version did not record, are left empty."""
    rows = [{name: f"{value:.6g}" for name, value in row.items() if value is not None} for row in history]
    write_table(pathlib.Path(folder) / runs.HISTORY, COLUMNS, rows)


def draw_history(folder: str | pathlib.Path, history: list[dict]) -> None:
    """Plots loss, Dice and learning rate over the epochs and writes history.png."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    epochs = [row["epoch"] for row in history]
    panels: dict[str, dict] = {
        "loss": {"loss": "training", "val_loss": "validation"},
        "Dice": {"dice": "training (soft)", "val_dice": "validation, mean of cases"},
        "learning rate": {"learning_rate": None}}
    for place, (title, columns) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, 3, place, xlabel="epoch", title=title)
        for column, label in columns.items():
            axes.plot(epochs, [row.get(column, math.nan) for row in history], marker=".", label=label)
        if title != "learning rate":
            axes.legend(fontsize="small")
        axes.set_ylim(bottom=0, top=1 if title == "Dice" else None)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    png = io.BytesIO()
    figure.savefig(png)
    write_bytes(pathlib.Path(folder) / PLOT, png.getvalue())


class Events:
    """Writes TensorBoard events of a run.

    Uses tf.summary.write, because tf.summary.scalar and tf.summary.image need TensorBoard to be installed.

    Args:
        held_out: the task's held_out_batches.
    """

    def __init__(self, run: Run, held_out: tf.data.Dataset) -> None:
        task, self._folder = run.task, run.folder / "events"
        with written_by_tensorflow(self._folder):
            self._writer = tf.summary.create_file_writer(str(self._folder))
        self._examples = examples_to_show(held_out)
        self._spacing_mm = task.config.plane_spacing_mm(task.stage)
        self._every = -(-task.training.epochs // PICTURES_PER_RUN)

    def write(self, row: dict, steps: Steps, last_step: int, model: tf.keras.Model) -> None:
        """Writes the scalars of an epoch and of its steps; about PICTURES_PER_RUN times per run also a picture of the
        net's output on some validation examples.

        Args:
            row: the epoch's row of the history, a dict with COLUMNS.
            steps: the measured steps of the epoch.
            last_step: number of steps the run has done.
            model: maps images to probabilities.
        """
        with self._writer.as_default(step=row["epoch"]):
            for name, values in (("loss", steps.losses), ("input_wait", steps.input_waits)):
                for step, value in enumerate(values, start=last_step - len(values) + 1):
                    _write_scalar(f"step/{name}", value, step)
            for column in COLUMNS[1:]:
                if row[column] is not None:
                    _write_scalar(column, row[column])
            if row["epoch"] % self._every == 0:
                image, target = self._examples
                probabilities = model(image, training=False).numpy()
                panels = [sheet.panel(*example) for example in zip(image, target, probabilities, strict=True)]
                png = sheet.draw([panels], self._spacing_mm)
                size = [str(size) for size in reversed(tf.io.decode_png(png).shape[:2])]
                tf.summary.write("held_out", tf.constant([*size, png]), metadata=_metadata("images", "BLOB_SEQUENCE"))
        with written_by_tensorflow(self._folder):
            self._writer.flush()


def _write_scalar(name, value, step=None):
    tf.summary.write(name, tf.constant(value, tf.float32), step=step, metadata=_metadata("scalars", "SCALAR"))


def _metadata(plugin, kind):
    summary = tf.compat.v1.SummaryMetadata
    return summary(plugin_data=summary.PluginData(plugin_name=plugin), data_class=f"DATA_CLASS_{kind}")


def examples_to_show(batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Selects validation examples for display: from each of the first cases the example with the most foreground.

    Args:
        batches: tf.data.Dataset as from pipeline.held_out_batches.

    Returns:
        (images, targets): arrays of at most PICTURE_EXAMPLES examples.
    """
    chosen: dict[int, tuple] = {}  # case to (size of its foreground, image, target)
    for image, target, case, _ in batches.as_numpy_iterator():
        for index, number in enumerate(case):
            size = target[index].sum()
            if number not in chosen or size > chosen[number][0]:
                chosen[number] = size, image[index], target[index]
        if len(chosen) > PICTURE_EXAMPLES:
            break
    _, images, targets = zip(*list(chosen.values())[:PICTURE_EXAMPLES], strict=True)
    return np.stack(images), np.stack(targets)
