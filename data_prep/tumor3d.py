"""Tumor detection stage: 3D patches centred in background, kidney and tumor, inside the box around the kidneys.

Dense training as in DeepMedic (Kamnitsas et al. 2017): as many centres of each class; training draws from them.
"""

from collections.abc import Iterator

import numpy as np

from data_prep.cases import NormalizedCase
from kits_tf.cascade.kidneys import tumor_pad
from kits_tf.config import CascadeConfig
from kits_tf.io.records import Example
from kits_tf.labels import CLASS_NAMES


def examples(case: NormalizedCase, config: CascadeConfig) -> Iterator[Example]:
    """(z, y, x) patches with room to jitter, `centres_per_class` of each class that the box holds."""
    pad = np.array(tumor_pad(config))
    start, stop = case.foreground_box()
    start, stop = np.maximum(start - pad, 0), np.minimum(stop + pad, case.grid)
    size = np.array(config.record_shape("tumor3d"))
    low = start - size // 2
    high = stop + size - size // 2
    image, labels = case.image(low, high - low), case.classes(low, high - low)
    inside = tuple(slice(a, b) for a, b in zip(start - low, stop - low, strict=True))
    generator = case.generator("tumor3d")
    for kind in CLASS_NAMES:
        centres = np.flatnonzero(labels[inside] == kind)
        count = min(config.tumor3d.centres_per_class, len(centres))
        for flat in np.sort(generator.choice(centres, count, replace=False)) if count else ():
            corner = np.array(np.unravel_index(flat, labels[inside].shape))  # the centre less half a patch, from `low`
            cut = tuple(slice(at, at + length) for at, length in zip(corner, size, strict=True))
            z, y, x = (int(value) for value in low + corner)
            voxels, ids = np.ascontiguousarray(image[cut]), np.ascontiguousarray(labels[cut])
            yield Example(voxels, ids, case.name, (z, y, x), -1, kind)
