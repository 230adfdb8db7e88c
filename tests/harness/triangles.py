"""Reference resampling in NumPy, voxel by voxel from the definition, for kits_tf.ops.resample.

tests/ops/test_resample.py compares this reference with scipy.ndimage and tf.image.resize.
"""

import numpy as np


def resample_axis(array, axis, size):
    """Resamples linearly with half-pixel centers; downsampling widens the triangle, the array's ends cut it."""
    array = np.moveaxis(np.asarray(array, np.float64), axis, 0)
    step = len(array) / size
    width = max(step, 1.0)
    rows = []
    for index in range(size):
        centre = (index + 0.5) * step - 0.5
        weights = [max(0.0, 1.0 - abs(source - centre) / width) for source in range(len(array))]
        rows.append(np.tensordot(weights, array, axes=1) / sum(weights))
    return np.moveaxis(np.array(rows), 0, axis)


def resample(array, grid):
    """Resamples all three axes of a volume to a grid of voxels; returns float64."""
    for axis, size in enumerate(grid):
        array = resample_axis(array, axis, int(size))
    return array


def block_of(array, start, size, outside):
    """Returns a block that may reach outside the array, where it is filled with `outside`."""
    places = np.meshgrid(*(np.arange(a, a + n) for a, n in zip(start, size, strict=True)), indexing="ij")
    inside = np.all([(place >= 0) & (place < length)
                     for place, length in zip(places, array.shape, strict=True)], axis=0)
    block = np.full(size, outside, np.float64)
    block[inside] = array[tuple(place[inside] for place in places)]
    return block
