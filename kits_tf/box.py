"""Bounding box of masks, so that later steps skip the voxels outside it: most of a scan is air."""

import numpy as np


def common_box(*masks: np.ndarray) -> tuple[slice, ...] | None:
    """Finds the smallest block that contains every true element of all masks.

    Args:
        masks: bool arrays of the same shape, with any number of axes.

    Returns:
        A tuple of slices, one per axis, that indexes the arrays; None if all masks are empty.
    """
    block = []
    for axis in range(masks[0].ndim):
        others = tuple(other for other in range(masks[0].ndim) if other != axis)
        hits = np.flatnonzero(np.logical_or.reduce([mask.any(axis=others) for mask in masks]))
        if not hits.size:
            return None
        block.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(block)
