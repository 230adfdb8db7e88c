"""Volume: voxels with their spacing and their affine.

Axes are always (z, y, x) inside the package. In the canonical orientation, which is that of KiTS19's files, z runs from
head to feet, y from front to back and x from the patient's right to left: nibabel axis codes I, P, L.
"""

import dataclasses
import pathlib
import typing
from collections.abc import Sequence

import numpy as np

from kits_tf.errors import InputError

AIR_HU = -1024  # value outside a scan
BODY_HU = -300.0  # body above, air around and inside it below
CANONICAL_CODES = ("I", "P", "L")
SAME_PLACE_MM = 0.01  # a corner may move this far by rounding in headers; a shift that matters is 50 times as large


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """Returns the voxel size along each array axis, in mm: the norms of the affine's columns.

    This is also correct for oblique scans. The result is rounded to 0.0001 mm, because headers hold float32 and the
    same scan stored in another axis order must have the same grid.
    """
    z_mm, y_mm, x_mm = (round(float(mm), 4) for mm in np.linalg.norm(np.asarray(affine, np.float64)[:3, :3], axis=0))
    return z_mm, y_mm, x_mm


def is_singular(affine: np.ndarray) -> bool:
    """Returns whether an affine has an axis of length zero or axes that lie (nearly) in one plane."""
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    return not norms.all() or bool(abs(np.linalg.det(affine[:3, :3] / norms)) < 1e-3)


def skew_degrees(affine: np.ndarray) -> float:
    """Returns the largest deviation from a right angle between two axes of an affine, in degrees."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(axes.T @ axes)[np.triu_indices(3, 1)]
    return float(np.degrees(np.arcsin(min(cosines.max(), 1.0))))


@dataclasses.dataclass(frozen=True, eq=False)
class Volume:
    """A scan or its labels.

    Attributes:
        voxels: array (z, y, x); Hounsfield units for a scan (int16 or float32), class ids (uint8) for labels.
        spacing_mm: voxel size along (z, y, x), in mm.
        affine: 4x4, maps voxel indices (z, y, x, 1) to world coordinates in mm, RAS+ as in nibabel.
        warnings: warnings about the file that the volume was read from, one sentence each.

    Raises:
        ValueError: if voxels are not 3D, an axis is empty, a spacing is not positive and finite, or the affine is not a
            finite 4x4 matrix or is singular.
    """

    voxels: np.ndarray
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    warnings: tuple[str, ...] = ()

    def __post_init__(self):
        if self.voxels.ndim != 3 or 0 in self.voxels.shape:
            raise ValueError(f"voxels must be (z, y, x) and not empty, got shape {self.voxels.shape}")
        if not all(np.isfinite(mm) and mm > 0 for mm in self.spacing_mm):
            raise ValueError(f"spacing_mm must be positive, got {self.spacing_mm}")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise ValueError(f"affine must be a finite 4x4 matrix, got {self.affine}")
        if is_singular(self.affine):
            raise ValueError(f"affine must not be singular, got {self.affine.tolist()}")

    @classmethod
    def from_affine(cls, voxels: np.ndarray, affine: np.ndarray) -> typing.Self:
        """Builds a volume and computes its spacing from the affine."""
        affine = np.asarray(affine, np.float64)
        return cls(voxels, spacing_of(affine), affine)

    @classmethod
    def from_spacing(cls, voxels: np.ndarray, spacing_mm: Sequence[float]) -> typing.Self:
        """Builds a volume in the canonical orientation with its first voxel at the world origin."""
        z_mm, y_mm, x_mm = (float(mm) for mm in spacing_mm)
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = -z_mm, -y_mm, -x_mm, 1.0
        return cls(voxels, (z_mm, y_mm, x_mm), affine)

    def with_voxels(self, voxels: np.ndarray) -> typing.Self:
        """Returns a volume with other voxels and the same geometry. Raises ValueError if the shape differs."""
        if voxels.shape != self.voxels.shape:
            raise ValueError(f"voxels must keep the shape {self.voxels.shape}, got {voxels.shape}")
        return dataclasses.replace(self, voxels=voxels)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, in milliliters."""
        return float(np.prod(self.spacing_mm)) / 1000.0


def apart_mm(one: Volume, other: Volume) -> float:
    """Returns the largest distance between matching outer corners of two volumes of the same shape, in mm."""
    corners = np.array([(z, y, x, 1) for z in (0, 1) for y in (0, 1) for x in (0, 1)], float)
    corners[:, :3] = corners[:, :3] * one.voxels.shape - 0.5
    return float(np.linalg.norm(corners @ (one.affine - other.affine).T, axis=1).max())


def check_same_place(path: str | pathlib.Path, volume: Volume, other: Volume, what: str = "labels") -> None:
    """Checks that two volumes have the same shape and position, to within SAME_PLACE_MM at the outer corners.

    Args:
        path: file of `volume`, for the message.
        volume: Volume to check.
        other: Volume to compare with.
        what: what `other` is, for the message.

    Raises:
        InputError: if the shapes differ or the corners are too far apart.
    """
    if volume.voxels.shape != other.voxels.shape:
        raise InputError(f"{path}: has shape {volume.voxels.shape} (z, y, x), expected that of its {what}, "
                         f"{other.voxels.shape}")
    shift_mm = apart_mm(volume, other)
    if shift_mm > SAME_PLACE_MM:
        raise InputError(f"{path}: is up to {shift_mm:.2f} mm away from its {what}; expected the same affine")


def to_int16(voxels: np.ndarray) -> np.ndarray:
    """Converts voxels to int16: rounds and clips them to its range; int16 input is returned unchanged."""
    if voxels.dtype == np.int16:
        return voxels
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(voxels), limits.min, limits.max).astype(np.int16)
