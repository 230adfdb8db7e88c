"""The block of voxels that matters, so that nobody works through a scan that is mostly air."""

import numpy as np


def common_box(*masks: np.ndarray) -> tuple[slice, ...] | None:
    """Finds the smallest block that holds every true element of any of the masks.

    Args:
        masks: bool arrays of one shape, of any number of axes.

    Returns:
        A tuple of slices, one per axis, to index the arrays with; None if nothing is true.
    """
    block = []
    for axis in range(masks[0].ndim):
        others = tuple(other for other in range(masks[0].ndim) if other != axis)
        hits = np.flatnonzero(np.logical_or.reduce([mask.any(axis=others) for mask in masks]))
        if not hits.size:
            return None
        block.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(block)
