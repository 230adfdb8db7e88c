"""Warnings about a scan or its labels that look unusual but can be used, one sentence each.

Nothing here changes a voxel. predict.py puts the sentences into its report; data_prep prints them. Warnings about the
header come with the Volume (scans/nifti.py, scans/dicom.py).
"""

from collections.abc import Sequence

import numpy as np

from kits_tf.labels import foreground
from kits_tf.volume import AIR_HU, BODY_HU, Volume, skew_degrees

MOST_SKEW_DEGREES = 0.5  # same limit as for a DICOM series' gantry tilt
SAMPLES = 2**21  # approximate number of voxels sampled; a scan has about a hundred times as many
FAR = {"coarser": 2.5, "finer": 1 / 6}  # times the nets' spacing; KiTS19's scans are between
LEAST_MM = {"z": 100.0, "y": 150.0, "x": 200.0}  # a kidney's length, a slim body's depth, KiTS19's narrowest scan
AXES = {"z": ("from head to feet", ("head", "feet")), "y": ("from front to back", ("front", "back")),
        "x": ("from right to left", ("right", "left"))}


def skew_warnings(affine: np.ndarray) -> list[str]:
    """Returns a warning if the axes of an affine are not at right angles."""
    skew = skew_degrees(affine)
    if skew <= MOST_SKEW_DEGREES:
        return []
    return [f"Its axes are {skew:.1f} degrees off a right angle (a tilted gantry?): lengths and volumes are those of "
            f"straight voxels, and too large; resample it to a straight stack first."]


def scan_warnings(volume: Volume, spacing_mm: Sequence[float]) -> list[str]:
    """Returns all warnings about a scan.

    Args:
        volume: Volume in the canonical orientation, expected to be in Hounsfield units.
        spacing_mm: the normalized spacing of the nets (z, y, x).

    Returns:
        List of sentences, those about the header first.
    """
    steps = [max(1, round(size / (SAMPLES ** (1 / 3)))) for size in volume.voxels.shape]
    sample = volume.voxels[tuple(slice(step // 2, None, step) for step in steps)].astype(np.float32)
    unit = _unit_warnings(volume.voxels, sample)
    return [*volume.warnings, *_extent_warnings(volume, spacing_mm), *(unit or _direction_warnings(sample))]


def _extent_warnings(volume, spacing_mm):
    warnings = []
    for axis, size, mm, wanted_mm in zip("zyx", volume.voxels.shape, volume.spacing_mm, spacing_mm, strict=True):
        ratio = mm / wanted_mm
        if ratio > FAR["coarser"] or ratio < FAR["finer"]:
            warnings.append(f"Its spacing of {mm:g} mm along {axis} is far from the {wanted_mm:g} mm at which the nets "
                            f"were trained.")
        if size == 1:
            warnings.append(f"It is one voxel thick {AXES[axis][0]}.")
        elif size * mm < LEAST_MM[axis]:
            warnings.append(f"It covers only {size * mm:.0f} mm {AXES[axis][0]}: organs may be cut off.")
    return warnings


def _unit_warnings(voxels, sample):
    """Warns if the values are not Hounsfield units: air near -1000, soft tissue near 0, all within int16."""
    low, high = float(voxels.min()), float(voxels.max())
    air, tissue = float(np.mean(sample < -500)), float(np.mean((sample > -150) & (sample < 250)))
    shifted = float(np.mean((sample > -150 - AIR_HU) & (sample < 250 - AIR_HU)))
    limits = np.iinfo(np.int16)
    if low >= 0 and high <= 255:
        return [f"Its values go from {low:g} to {high:g}, as in an 8-bit image: these are not Hounsfield units."]
    if low >= 0 and shifted > max(tissue, 0.1):
        return [f"No value is below 0 and {shifted:.0%} lie where tissue would be with {-AIR_HU} added: subtract "
                f"{-AIR_HU} to get Hounsfield units."]
    if low >= 0:
        return [f"Its values go from {low:g} to {high:g} without air below -500: these are not Hounsfield units "
                f"(MRI?)."]
    warnings = []
    if air < 0.005:
        warnings.append(f"Only {air:.1%} of it is air (below -500; the lowest value is {low:g}): it is cropped, "
                        f"masked, or not in Hounsfield units.")
    if tissue < 0.02:
        warnings.append(f"Only {tissue:.1%} of it has the Hounsfield units of soft tissue (-150 to 250).")
    if low < limits.min or high > limits.max:
        warnings.append(f"Its values go from {low:g} to {high:g}; values beyond {limits.min} or {limits.max} are "
                        f"clipped.")
    return warnings


def _direction_warnings(sample):
    """Warns if the body's orientation contradicts the header: spine and pelvis are at the back, lungs at the head.

    This does not detect a scan that is mirrored from right to left.
    """
    body, bone = sample > BODY_HU, sample > 350
    lung = (sample > -950) & (sample < -650)
    if not bone.any() or min(sample.shape) < 4:
        return []
    warnings = []
    depth = body.sum(axis=(0, 2))
    inside = np.flatnonzero(depth > 0.1 * depth.max())
    place = np.arange(sample.shape[1])
    behind = np.average(place, weights=bone.sum(axis=(0, 2))) - np.average(place, weights=depth)
    if bone.sum() > 0.002 * body.sum() and behind < -0.03 * (inside[-1] - inside[0] + 1):
        warnings.append("Its bones lie towards the front: the header may have front and back the wrong way round.")
    quarter = max(1, sample.shape[0] // 4)
    share = lung.sum(axis=(1, 2)) / np.maximum(body.sum(axis=(1, 2)), 1)
    head, feet = share[:quarter].mean(), share[-quarter:].mean()
    if feet > 2 * head and feet - head > 0.1:
        warnings.append("It has lung towards the feet: the header may have head and feet the wrong way round.")
    return warnings


def label_warnings(labels: np.ndarray) -> list[str]:
    """Warns if labeled kidneys or tumors touch the edge of the scan.

    Args:
        labels: uint8 (z, y, x), class ids, canonical orientation.

    Returns:
        List of sentences, one for each edge; an axis of one voxel gives none.
    """
    warnings = []
    for axis, name in enumerate("zyx"):
        for place, end in zip((0, -1), AXES[name][1], strict=True):
            if labels.shape[axis] > 1 and foreground(labels.take(place, axis)).any():
                warnings.append(f"A kidney or tumor touches the scan's edge towards the {end}: it may be cut off.")
    return warnings
