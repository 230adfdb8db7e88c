"""Fine stage: axial crops around one kidney at a time, its slices and a few beyond either pole."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from data_prep.cases import NormalizedCase
from kits_tf.cascade.kidney_steps import Kidneys, find_kidneys, kidney_blocks
from kits_tf.config import CascadeConfig
from kits_tf.records.schema import Example


def ground_truth_kidneys(case: NormalizedCase, config: CascadeConfig) -> Kidneys:
    """The case's kidneys as the cascade would find them in a perfect mask; the largest, if none is large enough."""
    start, mask = case.foreground
    mask, offset = tf.constant(mask), -tf.constant(start, tf.float32)
    found = find_kidneys(mask, tf.ones(3), offset, case.grid, config.kidney_min_voxels)
    if len(found.start) or not len(found.voxels):
        return found
    return find_kidneys(mask, tf.ones(3), offset, case.grid, float(tf.reduce_max(found.voxels)) - 0.5)


def examples(case: NormalizedCase, config: CascadeConfig) -> Iterator[Example]:
    """(y, x) crops with room to jitter: for each kidney all its slices, and each of the crops that cover it."""
    kidneys = ground_truth_kidneys(case, config)
    size = np.array(config.record_shape("fine"))
    room = np.array(config.jitter("fine"))
    for kidney in range(len(kidneys.start)):
        blocks = kidney_blocks(kidneys, kidney, case.grid, config)
        low = np.array([int(blocks.start[0]), *(blocks.start.numpy()[1:] - room)])
        high = np.array([int(blocks.stop[0]), *(blocks.stop.numpy()[1:] + room)])
        image, labels = case.image(low, high - low), case.classes(low, high - low)
        for y in blocks.positions[1].numpy() - blocks.start.numpy()[1]:
            for x in blocks.positions[2].numpy() - blocks.start.numpy()[2]:
                for z in range(high[0] - low[0]):
                    cut = np.s_[z, y:y + size[0], x:x + size[1]]
                    start = (int(low[0]) + z, int(low[1] + y), int(low[2] + x))
                    yield Example(image[cut], labels[cut], case.name, start, kidney, int(labels[cut].max()))
