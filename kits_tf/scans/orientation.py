"""Reorients arrays to the canonical orientation (I, P, L) and back. Voxel values do not change.

NumPy, not TensorFlow: this runs once per scan, on the host, where the header is read.
"""

import numpy as np
from nibabel import orientations

from kits_tf.volume import CANONICAL_CODES

IDENTITY = np.array([(0, 1), (1, 1), (2, 1)])  # orientation of an array that is not turned


def to_canonical_transform(affine: np.ndarray) -> np.ndarray:
    """Returns the nibabel orientation transform from the axes of an affine to the canonical axes."""
    canonical = orientations.axcodes2ornt(CANONICAL_CODES)
    return orientations.ornt_transform(orientations.io_orientation(affine), canonical)


def invert(transform: np.ndarray) -> np.ndarray:
    """Returns the inverse of an orientation transform."""
    return orientations.ornt_transform(IDENTITY, transform)


def reorient(array: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Transposes and flips an array; returns a view where possible."""
    return orientations.apply_orientation(array, transform)


def reorient_affine(affine: np.ndarray, transform: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the affine after `reorient` of an array of this shape, so that voxels keep their world position."""
    return affine @ orientations.inv_ornt_aff(transform, shape)
