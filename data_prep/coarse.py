"""Coarse stage: every axial slice, padded to a square with air and resized whole."""

from collections.abc import Iterator

from data_prep.cases import NormalizedCase
from kits_tf.config import CascadeConfig
from kits_tf.ops.resample import pad_to_square
from kits_tf.records.schema import Example


def examples(case: NormalizedCase, config: CascadeConfig) -> Iterator[Example]:
    """One example per normalized slice, (y, x) on the coarse grid."""
    size = config.coarse.size_voxels
    image, labels = case.coarse_image(size), case.coarse_classes(size)
    square = max(case.grid[1:])
    y, x = (-int(pad_to_square(length, square)) for length in case.grid[1:])
    for z in range(len(image)):
        yield Example(image[z], labels[z], case.name, (z, y, x), -1, int(labels[z].max()))
