"""Reads and checks one case of a study.

A Case (paths of a scan and its segmentation) goes in. A NormalizedCase comes out; it resamples blocks of the scan and
the labels to the normalized spacing on request.
"""

import dataclasses
import functools
import hashlib

import numpy as np
import tensorflow as tf

from kits_tf import labels as classes
from kits_tf.box import common_box
from kits_tf.errors import InputError
from kits_tf.ops import resample
from kits_tf.scans import formats
from kits_tf.scans.discovery import IMAGING, SEGMENTATION, Case
from kits_tf.scans.limits import check_grid
from kits_tf.scans.warnings import label_warnings, scan_warnings
from kits_tf.volume import AIR_HU, check_same_place, to_int16


@dataclasses.dataclass(frozen=True, eq=False)
class NormalizedCase:
    """A case that returns blocks at the normalized spacing without resampling the whole volume.

    Attributes:
        name: the case's name.
        ct: int16 (z, y, x), HU, as stored.
        labels: uint8 (z, y, x), class ids, as stored.
        grid: int32 (3,), voxels of the normalized volume.
        warnings: one line for each unusual but acceptable property; each line starts with the file.
    """

    name: str
    ct: tf.Tensor
    labels: tf.Tensor
    grid: np.ndarray
    warnings: tuple[str, ...]

    def image(self, start: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Returns a block of the normalized scan: int16 HU (z, y, x), air outside the volume."""
        return _whole_hu(_resample_ct(self.ct, self.grid, start, size))

    def classes(self, start: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Returns a block of the normalized labels: uint8 (z, y, x), background outside the volume.

        The foreground and the tumor mask are resampled separately and thresholded at 0.5.
        """
        return _class_ids(*(_resample_mask(self.labels, tf.constant(least, tf.uint8), self.grid, start, size)
                            for least in (classes.KIDNEY, classes.TUMOR)))

    def coarse_image(self, size: int) -> np.ndarray:
        """Returns the scan on the coarse grid: int16 HU (normalized z, size, size)."""
        return _whole_hu(resample.resample_square(self.ct, self.grid, size, AIR_HU))

    def coarse_classes(self, size: int) -> np.ndarray:
        """Returns the labels on the coarse grid: uint8 (normalized z, size, size)."""
        return _class_ids(*(resample.resample_square(tf.cast(self.labels >= least, tf.uint8), self.grid, size,
                                                     box=self._stored_box)
                            for least in (classes.KIDNEY, classes.TUMOR)))

    @functools.cached_property
    def _stored_box(self):
        """The smallest box of stored voxels with all kidneys and tumors: (start, stop), int (3,); one voxel if none."""
        box = common_box(classes.foreground(self.labels.numpy())) or (slice(0, 1),) * 3
        return np.array([along.start for along in box]), np.array([along.stop for along in box])

    def foreground_box(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns a box of the normalized grid that contains kidneys and tumors: (start, stop), int arrays (3,).

        The box has a margin of one voxel and is clipped to the volume.
        """
        ratio = self.grid / self.labels.shape
        start, stop = self._stored_box
        return (np.maximum(np.floor(start * ratio).astype(int) - 1, 0),
                np.minimum(np.ceil(stop * ratio).astype(int) + 1, self.grid))

    @functools.cached_property
    def foreground(self) -> tuple[np.ndarray, np.ndarray]:
        """The normalized mask of kidneys and tumors within foreground_box: (start of the box, bool mask)."""
        start, stop = self.foreground_box()
        return start, classes.foreground(self.classes(start, stop - start))

    def generator(self, stage: str) -> np.random.Generator:
        """Returns a random generator whose seed depends only on the case name and the stage."""
        return np.random.default_rng(list(hashlib.sha256(f"{self.name} {stage}".encode()).digest()[:8]))


def _whole_hu(values):
    return np.rint(values.numpy()).astype(np.int16)


def _class_ids(foreground, tumor):
    ids = np.where(foreground.numpy() >= 0.5, np.uint8(classes.KIDNEY), np.uint8(classes.BACKGROUND))
    return np.where(tumor.numpy() >= 0.5, np.uint8(classes.TUMOR), ids)


_BLOCK = [tf.TensorSpec((3,), tf.int32)] * 3


@tf.function(input_signature=[tf.TensorSpec((None, None, None), tf.int16), *_BLOCK], autograph=False)
def _resample_ct(ct, grid, start, size):
    return resample.resample_box(ct, grid, start, size, AIR_HU)


@tf.function(input_signature=[tf.TensorSpec((None, None, None), tf.uint8), tf.TensorSpec((), tf.uint8), *_BLOCK],
             autograph=False)
def _resample_mask(labels, least, grid, start, size):
    return resample.resample_box(tf.cast(labels >= least, tf.uint8), grid, start, size)


def read_case(case: Case, spacing_mm: tuple[float, float, float], without_kidneys: bool = False) -> NormalizedCase:
    """Reads and checks one case.

    Args:
        case: kits_tf.scans.discovery.Case.
        spacing_mm: the normalized spacing along (z, y, x).
        without_kidneys: whether a case without kidneys is accepted, with a warning.

    Returns:
        NormalizedCase.

    Raises:
        InputError: if imaging or segmentation is missing or unreadable, their shapes or positions differ, the scan is
            too large at that spacing (scans/limits.py), a label has no meaning (Case.labels), or the labels contain no
            kidney although that is not accepted.
    """
    if case.segmentation is None:
        where = f"{case.imaging.parent}: has no {SEGMENTATION}.nii.gz" if case.imaging.name.startswith(IMAGING) else (
            f"{case.imaging}: has no labels")
        raise InputError(f"{where}; training needs ground truth")
    (ct, _), (labels, _) = formats.read_scan(case), formats.read_labels(case.segmentation, case.labels)
    check_same_place(case.segmentation, labels, ct, "scan")
    try:
        check_grid(ct.voxels.shape, ct.spacing_mm, spacing_mm)
    except InputError as error:
        raise InputError(f"{case.imaging}: {error}") from error
    empty = not classes.foreground(labels.voxels).any()
    if empty and not without_kidneys:
        raise InputError(f"{case.segmentation}: contains no kidney; expected at least one")
    voxels = to_int16(ct.voxels)
    grid = resample.grid_size(voxels.shape, ct.spacing_mm, spacing_mm).numpy()
    warnings = [f"{case.imaging}: {warning}" for warning in scan_warnings(ct, spacing_mm)]
    warnings += [f"{case.segmentation}: {warning}" for warning in (*labels.warnings, *label_warnings(labels.voxels))]
    if empty:
        warnings.append(f"{case.segmentation}: labels no kidney; used as an example of a scan without kidneys")
    return NormalizedCase(case.name, tf.constant(voxels), tf.constant(labels.voxels), grid, tuple(warnings))
