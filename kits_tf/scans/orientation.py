"""Axis orders: any volume to the canonical orientation (I, P, L) and back, without touching a voxel's value.

NumPy, not TensorFlow: it happens once, on the host, where the header is.
"""

import numpy as np
from nibabel import orientations

from kits_tf.volume import CANONICAL_CODES


def to_canonical_transform(affine: np.ndarray) -> np.ndarray:
    """The nibabel orientation that turns the axes an affine describes into canonical ones."""
    canonical = orientations.axcodes2ornt(CANONICAL_CODES)
    return orientations.ornt_transform(orientations.io_orientation(affine), canonical)


def invert(transform: np.ndarray) -> np.ndarray:
    """The orientation that undoes another."""
    back = np.empty_like(transform)
    for axis, (target, flip) in enumerate(transform):
        back[int(target)] = (axis, flip)
    return back


def reorient(array: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Transposes and flips an array; a view where possible."""
    return orientations.apply_orientation(array, transform)


def reorient_affine(affine: np.ndarray, transform: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The affine of an array of that shape after `reorient`: every voxel stays where it was in the patient."""
    return affine @ orientations.inv_ornt_aff(transform, shape)
