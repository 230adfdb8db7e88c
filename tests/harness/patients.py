"""Patients made of ellipsoids, and scans with one HU value per class, so that a threshold is a perfect network."""

import numpy as np

from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

HU = np.array([-79, 100, 200], np.int16)  # by class: background, kidney, tumor
KIDNEY_ABOVE, TUMOR_ABOVE = 0.2335, 0.6  # halfway between the classes, after the window
MARK_HU = -20  # HU of a mark that every network ignores, unless a switch of threshold_nets.Nets is set
MARK_BAND = (0.14, 0.17)  # around MARK_HU after the window

SPACING_MM = (4.0, 1.5632, 1.5632)  # the demo preset's: no resampling, so voxels can be counted by hand


def ball(shape, centre, radius):
    """Returns the mask of an ellipsoid; center and radius along (z, y, x), in voxels."""
    place = np.indices(shape).reshape(3, -1).T
    inside = (((place - centre) / radius) ** 2).sum(axis=1) <= 1
    return inside.reshape(shape)


def small_patient():
    """Labels (24, 50, 70) at 5 x 2.1 x 2.3 mm: two kidneys, one with a tumor, without any symmetry."""
    labels = np.zeros((24, 50, 70), np.uint8)
    labels[ball(labels.shape, (11, 24, 17), (6, 10, 8))] = 1
    labels[ball(labels.shape, (13, 28, 52), (7, 9, 10))] = 1
    labels[ball(labels.shape, (15, 34, 55), (3, 6, 5))] = 2
    return Volume.from_spacing(labels, (5.0, 2.1, 2.3))


def write_study(folder, cases):
    """Writes cases of (24, 50, 70) voxels, each different, with two kidneys and a tumor; returns the folder."""
    for number in range(cases):
        labels = small_patient()
        labels.voxels[ball(labels.voxels.shape, (15, 34, 55), (3, 4 + number % 3, 5))] = 2
        case = folder / f"case_{number:05d}"
        write_volume(case / "imaging.nii.gz", labels.with_voxels(HU[labels.voxels] + np.int16(number)))
        write_volume(case / "segmentation.nii.gz", labels)
    return folder
