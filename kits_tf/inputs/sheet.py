"""Draws contact sheets (PNG): the inputs of a net in rows of panels, with the outlines of their masks."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from kits_tf.config import CascadeConfig
from kits_tf.inputs import pipeline

# Outline colors of the target and of the second mask: the net's prediction, or the kidney mask that tumor2d reads. The
# two colors can be distinguished with any type of color vision.
COLORS = ("#ff8c1a", "#56b4e9")
INCHES = 1.6  # longer side of a panel
ROWS, VARIANTS = 6, 7  # rows and augmented panels per row of a contact sheet


def contact_sheet(config: CascadeConfig, stage: str, paths: Sequence[pathlib.Path], seed: int) -> bytes:
    """Draws examples as training samples and augments them; returns PNG bytes.

    Each row shows one record and is titled with its case and position (z, y, x). The first panel is the center crop of
    the record as prepared, the others are augmented.

    Args:
        stage: one of config.STAGES.
        paths: shards to draw from.

    Raises:
        InputError: if a shard is damaged.
    """
    shape, cases = config.record_shape(stage), [path.stem for path in paths]
    drawn = pipeline.drawn_examples(config, stage, paths, seed)(0).take(ROWS)
    image, labels, record = drawn.map(lambda one: pipeline.decode(one, shape, cases)).batch(ROWS).get_single_element()
    columns = [pipeline.plain(image, labels, config, stage)]
    vary = tf.function(lambda number: pipeline.augmented(image, labels, tf.stack([-1 - seed, number]), config, stage))
    columns += [vary(tf.constant(number)) for number in range(VARIANTS)]
    rows = [[panel(images[row].numpy(), targets[row].numpy()) for images, targets in columns]
            for row in range(len(image))]
    titles = [f"{cases[case]}, from ({z}, {y}, {x})" for case, z, y, x, _ in record.numpy()]
    return draw(rows, config.plane_spacing_mm(stage), titles)


def panel(image: np.ndarray, *masks: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Selects the 2D image and masks of one example to show in a panel.

    Args:
        image: float32 ([z,] y, x, channels), 0 to 1; the second channel, if any, is a mask.
        masks: float32 ([z,] y, x, 1); the first is the target.

    Returns:
        (image, masks): 2D arrays. For a block, these are of the slice with the largest target, or of the middle slice
        if the target is empty. A mask channel of the image is the last of the masks.
    """
    planes = [image[..., 0], *(mask[..., 0] for mask in masks), *(image[..., k] for k in range(1, image.shape[-1]))]
    if planes[0].ndim == 3:
        sizes = planes[1].sum(axis=(1, 2))
        slice_ = int(sizes.argmax()) if sizes.max() else len(sizes) // 2
        planes = [plane[slice_] for plane in planes]
    return planes[0], planes[1:]


def draw(rows: list[list[tuple[np.ndarray, list[np.ndarray]]]], spacing_mm: Sequence[float],
         titles: list[str] | None = None) -> bytes:
    """Draws panels in rows.

    Args:
        rows: lists of panels from `panel`, all of the same shape; each row has the same number.
        spacing_mm: height and width of a voxel.
        titles: one line of text above each row; None for no titles.

    Returns:
        PNG bytes.
    """
    height, width = np.multiply(rows[0][0][0].shape, spacing_mm)
    scale = INCHES / max(height, width)
    head = 0.2 if titles else 0.0
    size = (len(rows[0]) * scale * width, len(rows) * (scale * height + head))
    figure = Figure(figsize=size, dpi=100, facecolor="black")
    for down, panels in enumerate(rows):
        top = size[1] - down * (scale * height + head) - head
        if titles:
            figure.text(0.05 / size[0], (top + 0.05) / size[1], titles[down], color="white", fontsize=7)
        for across, (image, masks) in enumerate(panels):
            axes = figure.add_axes((across * scale * width / size[0], (top - scale * height) / size[1],
                                    scale * width / size[0], scale * height / size[1]))
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, aspect="auto")
            for mask, color in zip(masks, COLORS, strict=False):
                if mask.max() >= 0.5 > mask.min():
                    axes.contour(mask, levels=[0.5], colors=color, linewidths=0.8)
            axes.set_axis_off()
    png = io.BytesIO()
    figure.savefig(png)
    return png.getvalue()
