"""What no scan goes beyond, whatever its file says: voxels, their size, its length, and its size on the nets' grid.

A header may claim anything, and the work that a scan makes grows with its extent, not with its file: 27000 voxels of
99 mm are 14 thousand million of the nets' own.
"""

import math
import pathlib
from collections.abc import Sequence

from kits_tf.errors import InputError

MOST_VOXELS = 2**29  # 2048 slices of 512 x 512
SPACING_LIMITS_MM = (0.01, 100.0)
LONGEST_MM = 3000.0  # along one axis
# A scan beyond both is no scan: real ones compress 2 to 20 times, and 1059 slices of air as float64 are 2.1 GiB.
LARGE_BYTES, LARGE_RATIO = 3 * 2**30, 100
MOST_NORMALIZED_VOXELS = 2**30  # a body of 2 m x 0.7 m x 0.7 m has half of them at 3 x 0.7816 x 0.7816 mm


def times(sizes: Sequence[int] | Sequence[str]) -> str:
    """Sizes along the axes, for people to read."""
    return " x ".join(map(str, sizes))


def check_voxels(path: str | pathlib.Path, shape: Sequence[int]) -> None:
    """Raises InputError if a header claims more voxels than a scan has."""
    if math.prod(shape) > MOST_VOXELS:
        raise InputError(f"{path}: its header claims {times(shape)} voxels, expected at most {MOST_VOXELS} in all")


def is_bomb(unpacked: int, packed: int) -> bool:
    """Whether a file of `packed` bytes would unpack to more than a scan does."""
    return unpacked > max(LARGE_BYTES, LARGE_RATIO * packed)


def check_spacing(path: str | pathlib.Path, spacing_mm: Sequence[float]) -> None:
    """Raises InputError if voxels are beyond SPACING_LIMITS_MM along an axis, or that is no number."""
    low, high = SPACING_LIMITS_MM
    if not all(low <= mm <= high for mm in spacing_mm):
        raise InputError(f"{path}: its voxel spacing is {list(spacing_mm)} mm, expected three positive numbers, "
                         f"{low:g} to {high:g}")


def check_extent(path: str | pathlib.Path, shape: Sequence[int], spacing_mm: Sequence[float]) -> None:
    """Refuses voxels that are no size for a CT's, or a scan longer than any.

    Args:
        path: the file or folder, as the user gave it.
        shape: voxels along three axes.
        spacing_mm: their size along the same axes.

    Raises:
        InputError: as check_spacing, and if an axis is longer than LONGEST_MM.
    """
    check_spacing(path, spacing_mm)
    length_mm = max(size * mm for size, mm in zip(shape, spacing_mm, strict=True))
    if length_mm > LONGEST_MM:
        raise InputError(f"{path}: is {length_mm:.0f} mm long with the voxel spacing in its header, expected at most "
                         f"{LONGEST_MM:.0f}")


def check_grid(shape: Sequence[int], spacing_mm: Sequence[float], target_mm: Sequence[float]) -> None:
    """Refuses a scan that would be too large at the nets' spacing, before it takes all memory there is.

    Args:
        shape: voxels (z, y, x).
        spacing_mm: their size, z, y, x.
        target_mm: the normalized spacing.

    Raises:
        InputError: beyond MOST_NORMALIZED_VOXELS. It names no file, which the caller knows.
    """
    extent_mm = [size * float(mm) for size, mm in zip(shape, spacing_mm, strict=True)]
    grid = [max(1.0, mm / target) for mm, target in zip(extent_mm, target_mm, strict=True)]
    if math.prod(grid) > MOST_NORMALIZED_VOXELS:
        large, nets = times([f"{mm:.0f}" for mm in extent_mm]), times([f"{mm:g}" for mm in target_mm])
        raise InputError(f"the scan is {large} mm (z, y, x) large by its voxel spacing, {math.prod(grid) / 1e6:.0f} "
                         f"million voxels at the nets' {nets} mm, expected at most "
                         f"{MOST_NORMALIZED_VOXELS / 1e6:.0f} million; correct its spacing, or cut it to the abdomen")
