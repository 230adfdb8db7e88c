"""Makes scans for benchmarks from synthetic phantoms, with their labels.

Each class has one HU value (background -79, kidney 100, tumor 200), so that the untrained cascade (untrained.py) finds
kidneys and tumors and runs all its steps.
"""

import pathlib

import numpy as np
from scipy import ndimage

from kits_tf.phantoms.abdomen import Scanner, draw_abdomen
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

HU = np.array([-79, 100, 200], np.int16)  # indexed by class
KIDNEY_ABOVE, TUMOR_ABOVE = 0.2335, 0.6  # halfway between the classes, after windowing
SLICES, SIZE, SPACING_MM = 85, 512, (5.0, 1.04, 1.04)


def above(stage: str) -> float:
    """Returns the threshold that a stage's threshold net uses."""
    return TUMOR_ABOVE if stage.startswith("tumor") else KIDNEY_ABOVE


def made(slices: int = SLICES, slice_mm: float = SPACING_MM[0], pixel_mm: float = SPACING_MM[1],
         seed: int = 1) -> tuple[Volume, Volume]:
    """Makes a scan of SIZE x SIZE pixels and its labels; the kidneys are in the middle of the slices."""
    drawn = draw_abdomen(seed, scanner=Scanner(128, (slice_mm, slice_mm)))[1]
    factors = [drawn.spacing_mm[axis] / pixel_mm for axis in (1, 2)]
    affine = drawn.affine.copy()
    affine[:3, 1:3] /= factors
    planes = ndimage.zoom(drawn.voxels, (1, *factors), order=0)
    labels = np.zeros((slices, SIZE, SIZE), np.uint8)
    cut, paste = [], []
    for has, wants in zip(planes.shape, labels.shape, strict=True):
        shared = min(has, wants)
        cut.append(slice((has - shared) // 2, (has - shared) // 2 + shared))
        paste.append(slice((wants - shared) // 2, (wants - shared) // 2 + shared))
    labels[tuple(paste)] = planes[tuple(cut)]
    spacing_mm = (slice_mm, pixel_mm, pixel_mm)
    return Volume(HU[labels], spacing_mm, affine), Volume(labels, spacing_mm, affine)


def write_case(folder: pathlib.Path, number: int = 0, slices: int = SLICES, slice_mm: float = SPACING_MM[0],
               pixel_mm: float = SPACING_MM[1]) -> pathlib.Path:
    """Writes a scan and its labels as a case of a study, and returns the scan's path."""
    case = folder / f"case_{number:05d}"
    scan, labels = made(slices, slice_mm, pixel_mm, seed=number + 1)
    write_volume(case / "imaging.nii.gz", scan)
    write_volume(case / "segmentation.nii.gz", labels)
    return case / "imaging.nii.gz"
