"""Surface Dice as in KiTS23: the share of both surfaces that lies within a tolerance of the other surface.

Takes two label arrays and their spacing; returns one score from 0 to 1 per region.

Source: Nikolov et al. 2018, arXiv:1809.04430, computed by DeepMind's surface-distance. Regions, tolerances and scores
of empty regions are from neheller/kits23, kits23/configuration/labels.py and kits23/evaluation/metrics.py. KiTS23's
mass is tumor or cyst: it is scored where the ground truth has cysts. A prediction of ours has none.
"""

from collections.abc import Sequence

import numpy as np
import surface_distance

from kits_tf.box import common_box
from kits_tf.labels import foreground, tumor

TOLERANCES_MM = {  # KiTS23's values, from the distances between its annotators' surfaces
    "kidney_and_mass": 1.0330772532390826,
    "mass": 1.1328796488598762,
    "tumor": 1.1498198361434828,
}
COLUMNS = tuple(f"{region}_surface_dice" for region in TOLERANCES_MM)


def surface_dice(truth: np.ndarray, predicted: np.ndarray, spacing_mm: Sequence[float],
                 tolerances_mm: Sequence[float]) -> list[float]:
    """Computes surface Dice at one or more tolerances. Computes the distances only once.

    Args:
        truth: bool array (z, y, x).
        predicted: bool array of the same shape.
        spacing_mm: voxel size along (z, y, x), in mm.
        tolerances_mm: sequence of the largest distances at which surfaces count as equal, in mm.

    Returns:
        A list of floats, one per tolerance; 1 if both masks are empty, 0 if only one is.

    Raises:
        ValueError: if the shapes differ or the masks are not 3D.
    """
    if truth.ndim != 3 or truth.shape != predicted.shape:
        raise ValueError(f"truth {truth.shape} and predicted {predicted.shape} must have one shape (z, y, x)")
    box = common_box(truth, predicted)
    if box is None:
        return [1.0 for _ in tolerances_mm]
    # No margin is needed: surface-distance treats the outside as background. A kidney cut off by the edge of the scan
    # has a surface there, with or without this crop.
    truth, predicted = truth[box], predicted[box]
    if not (truth.any() and predicted.any()):
        return [0.0 for _ in tolerances_mm]
    distances = surface_distance.compute_surface_distances(truth, predicted, spacing_mm)
    return [float(surface_distance.compute_surface_dice_at_tolerance(distances, mm)) for mm in tolerances_mm]


def surface_scores(truth: np.ndarray, predicted: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Computes KiTS23's surface Dice of one case, without masses.

    Args:
        truth: uint8 class ids (z, y, x).
        predicted: uint8 class ids of the same shape.
        spacing_mm: voxel size along (z, y, x), in mm.

    Returns:
        dict of `kidney_and_mass_surface_dice` and `tumor_surface_dice`.

    Raises:
        ValueError: if the shapes differ or the arrays are not 3D.
    """
    found = {}
    for region, mask in (("kidney_and_mass", foreground), ("tumor", tumor)):
        found[f"{region}_surface_dice"], = surface_dice(mask(truth), mask(predicted), spacing_mm,
                                                        [TOLERANCES_MM[region]])
    return found


def mass_surface_dice(truth: np.ndarray, predicted: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Computes KiTS23's surface Dice of two masks of masses (z, y, x). Spacing and errors as surface_scores."""
    return surface_dice(truth, predicted, spacing_mm, [TOLERANCES_MM["mass"]])[0]
