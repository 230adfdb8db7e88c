"""Correction stage: sagittal planes cut around the (z, y) centroid of the ground truth."""

from collections.abc import Iterator

import numpy as np

from data_prep.cases import NormalizedCase
from kits_tf.config import CascadeConfig
from kits_tf.labels import foreground
from kits_tf.records.schema import Example


def examples(case: NormalizedCase, config: CascadeConfig) -> Iterator[Example]:
    """All sagittal planes that meet a kidney and as many that do not (all there are, if fewer): (z, y) crops."""
    box_start, mask = case.foreground
    where = np.argwhere(mask)
    if not len(where):  # the labels are thinner than half a normalized voxel
        return
    centre = np.floor(where[:, :2].mean(axis=0) + box_start[:2] + 0.5).astype(int)
    size = np.array(config.record_shape("correction"))
    start = np.array([*(centre - size // 2), 0])
    block = np.array([*size, case.grid[2]])
    image, labels = case.image(start, block), case.classes(start, block)
    with_kidney = np.flatnonzero(foreground(labels).any(axis=(0, 1)))
    without = np.setdiff1d(np.arange(case.grid[2]), with_kidney)
    count = min(len(with_kidney), len(without))
    drawn = case.generator("correction").choice(without, count, replace=False)
    for x in sorted([*with_kidney.tolist(), *drawn.tolist()]):
        plane = labels[:, :, x]
        yield Example(image[:, :, x], plane, case.name, (int(start[0]), int(start[1]), x), -1, int(plane.max()))
