"""Tumor detection stage: 3D patches centred in background, kidney and tumor, inside the box around the kidneys.

Dense training as in DeepMedic (Kamnitsas et al. 2017): as many centres of each class; training draws from them. What
follows them is the box itself, in slabs as deep as a patch: a case that is held out is scored on all of it.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from data_prep.cases import NormalizedCase
from kits_tf.cascade.kidney_steps import tumor_pad
from kits_tf.config import CascadeConfig
from kits_tf.labels import CLASS_NAMES
from kits_tf.ops.crop import cover_axis
from kits_tf.records.schema import BOX, Example


def examples(case: NormalizedCase, config: CascadeConfig) -> Iterator[Example]:
    """(z, y, x) patches with room to jitter, `centres_per_class` of each class that the box holds; then its slabs."""
    pad = np.array(tumor_pad(config))
    start, stop = case.foreground_box()
    start, stop = np.maximum(start - pad, 0), np.minimum(stop + pad, case.grid)
    size = np.array(config.record_shape("tumor3d"))
    low = start - size // 2
    high = stop + size - size // 2
    image, labels = case.image(low, high - low), case.classes(low, high - low)
    inside = tuple(slice(a, b) for a, b in zip(start - low, stop - low, strict=True))

    def cut(first, shape, kind):
        at = tuple(slice(a, a + length) for a, length in zip(first - low, shape, strict=True))
        z, y, x = (int(value) for value in first)
        voxels, ids = np.ascontiguousarray(image[at]), np.ascontiguousarray(labels[at])
        return Example(voxels, ids, case.name, (z, y, x), -1, kind)

    generator = case.generator("tumor3d")
    for kind in CLASS_NAMES:
        centres = np.flatnonzero(labels[inside] == kind)
        count = min(config.tumor3d.centres_per_class, len(centres))
        for flat in np.sort(generator.choice(centres, count, replace=False)) if count else ():
            centre = start + np.unravel_index(flat, labels[inside].shape)
            yield cut(centre - size // 2, size, kind)
    depth = config.tumor3d.patch_voxels[0]
    middle = tf.cast(start[0] + stop[0] - 1, tf.float32) / 2.0
    for z in cover_axis(start[0], stop[0], middle, depth, 0).numpy():
        yield cut(np.array([z, *start[1:]]), (depth, *(stop - start)[1:]), BOX)
