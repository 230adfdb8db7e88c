"""Reads label files that other tools have rewritten: floats with a scale factor, such as 1.00002 for class 1."""

import pathlib

import numpy as np

from kits_tf.errors import InputError
from kits_tf.scans.nifti import read_labels, read_volume
from kits_tf.volume import Volume

MOST_OFF = 0.01  # from a class id; a scale factor of float32 or of 16 bits is off by far less, interpolation by more


def read_rounded_labels(path: str | pathlib.Path) -> Volume:
    """Reads labels like scans.nifti.read_labels, and takes numbers that are up to MOST_OFF from a class id for it.

    Raises:
        InputError: as read_labels.
    """
    try:
        return read_labels(path)
    except InputError as error:
        refused = error
    try:
        volume = read_volume(path)
    except InputError:
        raise refused from None
    near = np.rint(volume.voxels)
    if np.abs(volume.voxels - near).max() > MOST_OFF or not 0 <= near.min() <= near.max() <= 2:
        raise refused
    return volume.with_voxels(near.astype(np.uint8))
