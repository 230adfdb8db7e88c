"""Upper limits of a scan: number of voxels, voxel size, length, and size at the normalized spacing.

A header may claim anything, and the work grows with the scan's extent, not with the size of its file: 27000 voxels of
99 mm are 14 billion voxels at the normalized spacing.
"""

import math
import pathlib
from collections.abc import Sequence

from kits_tf.errors import InputError

MOST_VOXELS = 2**29  # 2048 slices of 512 x 512
SPACING_LIMITS_MM = (0.01, 100.0)
LONGEST_MM = 3000.0  # along one axis
# A file beyond both is no scan: real scans compress 2 to 20 times, and 1059 slices of air as float64 are 2.1 GiB.
LARGE_BYTES, LARGE_RATIO = 3 * 2**30, 100
MOST_NORMALIZED_VOXELS = 2**30  # a body of 2 x 0.7 x 0.7 m has half as many at 3 x 0.7816 x 0.7816 mm


def times(sizes: Sequence[int] | Sequence[str]) -> str:
    """Formats sizes along the axes, such as 3 x 4 x 5."""
    return " x ".join(map(str, sizes))


def check_voxels(path: str | pathlib.Path, shape: Sequence[int]) -> None:
    """Raises InputError if a header claims more than MOST_VOXELS voxels."""
    if math.prod(shape) > MOST_VOXELS:
        raise InputError(f"{path}: its header claims {times(shape)} voxels, expected at most {MOST_VOXELS} in all")


def is_bomb(unpacked: int, packed: int) -> bool:
    """Returns whether a file of `packed` bytes that unpacks to `unpacked` bytes is too large to be a scan."""
    return unpacked > max(LARGE_BYTES, LARGE_RATIO * packed)


def check_spacing(path: str | pathlib.Path, spacing_mm: Sequence[float]) -> None:
    """Raises InputError if a spacing is outside SPACING_LIMITS_MM or not a number."""
    low, high = SPACING_LIMITS_MM
    if not all(low <= mm <= high for mm in spacing_mm):
        raise InputError(f"{path}: its voxel spacing is {list(spacing_mm)} mm, expected three positive numbers, "
                         f"{low:g} to {high:g}")


def check_extent(path: str | pathlib.Path, shape: Sequence[int], spacing_mm: Sequence[float]) -> None:
    """Checks voxel size and length of a scan.

    Args:
        path: the file or folder, as the user gave it.
        shape: number of voxels along three axes.
        spacing_mm: voxel size along the same axes.

    Raises:
        InputError: as check_spacing, or if an axis is longer than LONGEST_MM.
    """
    check_spacing(path, spacing_mm)
    length_mm = max(size * mm for size, mm in zip(shape, spacing_mm, strict=True))
    if length_mm > LONGEST_MM:
        raise InputError(f"{path}: is {length_mm:.0f} mm long with the voxel spacing in its header, expected at most "
                         f"{LONGEST_MM:.0f}")


def check_grid(shape: Sequence[int], spacing_mm: Sequence[float], target_mm: Sequence[float]) -> None:
    """Checks a scan's size at the normalized spacing, before it can exhaust the memory.

    Args:
        shape: number of voxels (z, y, x).
        spacing_mm: voxel size (z, y, x).
        target_mm: the normalized spacing (z, y, x).

    Raises:
        InputError: above MOST_NORMALIZED_VOXELS. The message does not name the file; the caller adds it.
    """
    extent_mm = [size * float(mm) for size, mm in zip(shape, spacing_mm, strict=True)]
    grid = [max(1.0, mm / target) for mm, target in zip(extent_mm, target_mm, strict=True)]
    if math.prod(grid) > MOST_NORMALIZED_VOXELS:
        large, nets = times([f"{mm:.0f}" for mm in extent_mm]), times([f"{mm:g}" for mm in target_mm])
        raise InputError(f"the scan measures {large} mm (z, y, x) by its voxel spacing, {math.prod(grid) / 1e6:.0f} "
                         f"million voxels at the nets' {nets} mm; expected at most "
                         f"{MOST_NORMALIZED_VOXELS / 1e6:.0f} million; correct its spacing, or crop it to the abdomen")
