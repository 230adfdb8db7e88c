"""Reduces a scan and its labels to volumes that a web page can hold: cropped to the body, on a coarser grid.

Takes Volumes; returns NIfTI files as base64 and a sentence that says what was reduced. Only what is shown is reduced:
measurements are made on the scan itself.
"""

import base64
import dataclasses

import numpy as np
from scipy import ndimage

from kits_tf import lazy
from kits_tf.box import common_box
from kits_tf.labels import foreground, tumor
from kits_tf.scans.nifti import compressed
from kits_tf.volume import BODY_HU, Volume, to_int16

MOST_VOXELS = 12e6  # of a graphics card's memory a voxel takes 13 bytes
MOST_BYTES = 9e6  # of the compressed scan; base64 adds a third, and the page must stay below 15 MB
LOWEST_HU = -1000.0  # air; lower values are raised to it
STEP_HU = 4  # values are rounded to multiples: a hundred grays in the soft tissue window
SAMPLE_MM = 4.0  # grid on which the body is searched
MARGIN_MM = 8.0  # around the body
PART_OF_BODY = 0.1  # a piece of at least this many times the largest piece's voxels, such as a leg, belongs to the body


@dataclasses.dataclass(frozen=True)
class Grid:
    """A coarser grid over a block of a volume.

    Attributes:
        box: slices (z, y, x) of the block.
        shape: voxels of the grid.
    """

    box: tuple[slice, ...]
    shape: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Voxels of the block."""
        return tuple(side.stop - side.start for side in self.box)

    def affine(self, affine: np.ndarray) -> np.ndarray:
        """Returns the affine of the grid, given that of the volume."""
        step = np.divide(self.sizes, self.shape)
        inside = np.diag([*step, 1.0])
        inside[:3, 3] = [side.start for side in self.box] + (step - 1) / 2
        return affine @ inside


def embed(ct: Volume, labels: Volume, truth: Volume | None = None) -> tuple[list[dict[str, str]], str]:
    """Reduces and compresses a scan and its labels.

    Args:
        ct: Volume in Hounsfield units, in the canonical orientation.
        labels: Volume of class ids, on the scan's grid.
        truth: Volume of true class ids, or None.

    Returns:
        (volumes, note): for the scan, the labels and the truth a dict of `kind` ("scan", "labels" or "truth") and
        `base64`, a .nii.gz file; all three have the same grid. The note is for a human reader.
    """
    others = {kind: volume for kind, volume in (("labels", labels), ("truth", truth)) if volume is not None}
    box, most = body_box(ct, *others.values()), MOST_VOXELS
    while True:
        grid = Grid(box, _coarser(tuple(side.stop - side.start for side in box), ct.spacing_mm, most))
        scan = compressed(_reduced_scan(ct, grid), STEP_HU)
        if len(scan) <= MOST_BYTES:
            break
        most *= 0.9 * MOST_BYTES / len(scan)
    files = {"scan": scan, **{kind: compressed(_reduced_labels(volume, grid)) for kind, volume in others.items()}}
    return [{"kind": kind, "base64": base64.b64encode(data).decode()} for kind, data in files.items()], _note(ct, grid)


def body_box(ct: Volume, *labels: Volume) -> tuple[slice, ...]:
    """Finds the block that holds the body, without the table, and all foreground of label volumes.

    Returns:
        Slices (z, y, x), never empty: without a body the whole scan.
    """
    steps = [max(1, round(SAMPLE_MM / mm)) for mm in ct.spacing_mm]
    solid = ct.voxels[tuple(slice(None, None, step) for step in steps)] > BODY_HU
    # The opening takes away the table, which is thin.
    pieces, count = ndimage.label(ndimage.binary_opening(solid, np.ones((1, 3, 3))))
    voxels = np.bincount(pieces.ravel())
    voxels[0] = 0
    body = common_box((voxels >= PART_OF_BODY * voxels.max())[pieces]) if count else None
    if body is None:
        return tuple(slice(0, size) for size in ct.voxels.shape)
    blocks = [[(side.start * step, side.stop * step) for side, step in zip(body, steps, strict=True)]]
    for volume in labels:
        found = common_box(foreground(volume.voxels))
        blocks += [[(side.start, side.stop) for side in found]] if found else []
    box = []
    for sides, mm, size in zip(zip(*blocks, strict=True), ct.spacing_mm, ct.voxels.shape, strict=True):
        starts, stops = zip(*sides, strict=True)
        margin = round(MARGIN_MM / mm)
        box.append(slice(max(min(starts) - margin, 0), min(max(stops) + margin, size)))
    return tuple(box)


def _coarser(sizes, spacing_mm, most):
    """Returns the shape of the finest grid of at most `most` voxels; the finest axes are made coarser first."""
    if np.prod(sizes, dtype=float) <= most:
        return tuple(sizes)
    resample = lazy.load("kits_tf.ops.resample")
    fine_mm, coarse_mm, shape = 0.0, float(np.max(np.multiply(sizes, spacing_mm))), (1, 1, 1)
    for _ in range(20):  # bisection
        target_mm = (fine_mm + coarse_mm) / 2
        tried = resample.grid_size(sizes, spacing_mm, [max(mm, target_mm) for mm in spacing_mm]).numpy().tolist()
        if np.prod(tried, dtype=float) > most:
            fine_mm = target_mm
        else:
            coarse_mm, shape = target_mm, tuple(tried)
    return shape


def _reduced_scan(ct, grid):
    """Returns the scan on the grid, int16 in steps of STEP_HU."""
    block = ct.voxels[grid.box]
    if grid.shape != grid.sizes:
        resample = lazy.load("kits_tf.ops.resample")
        block = resample.apply_weights(block, _weights(grid), LOWEST_HU).numpy()
    return Volume.from_affine(to_int16(np.maximum(block, LOWEST_HU) / STEP_HU), grid.affine(ct.affine))


def _reduced_labels(labels, grid):
    """Returns class ids on the grid; a voxel has a class if that covers more than half of it."""
    block = labels.voxels[grid.box]
    box = common_box(foreground(block))
    if grid.shape != grid.sizes and box is not None:
        resample = lazy.load("kits_tf.ops.resample")
        weights = [matrix[:, side] for matrix, side in zip(_weights(grid), box, strict=True)]
        block = sum(resample.apply_weights(classes(block[box]), weights, above=0.5).numpy().astype(np.uint8)
                    for classes in (foreground, tumor))
    elif box is None:
        block = np.zeros(grid.shape, np.uint8)
    return Volume.from_affine(block, grid.affine(labels.affine))


def _weights(grid):
    resample = lazy.load("kits_tf.ops.resample")
    return [resample.axis_weights(*sizes) for sizes in zip(grid.sizes, grid.shape, strict=True)]


def _note(ct, grid):
    """Returns what was done to the scan, as sentences."""
    def times(numbers):
        return " x ".join(f"{number:.6g}" for number in reversed(numbers))

    changes = [] if grid.sizes == ct.voxels.shape else [
        f"cropped to the body ({times(grid.sizes)} of {times(ct.voxels.shape)} voxels)"]
    if grid.shape != grid.sizes:
        step_mm = np.multiply(ct.spacing_mm, grid.sizes) / grid.shape
        changes.append(f"at {times(step_mm.round(2))} mm instead of {times(np.round(ct.spacing_mm, 2))} mm")
    changes.append(f"in steps of {STEP_HU} HU")
    return f"The scan is shown {', '.join(changes)}. Measurements are of the whole scan as it is."
