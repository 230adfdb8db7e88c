"""Surface Dice as KiTS23 scores it: the share of both surfaces that lies within a tolerance of the other.

Two label arrays and their spacing go in, one number from 0 to 1 per region comes out.

Source: Nikolov et al. 2018, arXiv:1809.04430, through DeepMind's surface-distance; regions, tolerances and what an
empty region counts as: neheller/kits23, kits23/configuration/labels.py and kits23/evaluation/metrics.py. KiTS23's mass
is tumor or cyst. We know no cysts, so mass and tumor hold the same voxels and differ in their tolerance only.
"""

from collections.abc import Sequence

import numpy as np
import surface_distance

from kits_tf.box import common_box
from kits_tf.labels import foreground, tumor

TOLERANCES_MM = {  # how far KiTS's annotators lie apart
    "kidney_and_mass": 1.0330772532390826,
    "mass": 1.1328796488598762,
    "tumor": 1.1498198361434828,
}
COLUMNS = tuple(f"{region}_surface_dice" for region in TOLERANCES_MM)


def surface_dice(truth: np.ndarray, predicted: np.ndarray, spacing_mm: Sequence[float],
                 tolerances_mm: Sequence[float]) -> list[float]:
    """Surface Dice at one or more tolerances; the distances are computed once.

    Args:
        truth: bool array (z, y, x).
        predicted: bool array of the same shape.
        spacing_mm: voxel size along (z, y, x), in mm.
        tolerances_mm: how far apart two surfaces may lie and still count as one, in mm; a sequence.

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
    # No margin: surface-distance takes what lies outside for background, so that a kidney cut by the edge of the scan
    # has a surface there, cropped or not.
    truth, predicted = truth[box], predicted[box]
    if not (truth.any() and predicted.any()):
        return [0.0 for _ in tolerances_mm]
    distances = surface_distance.compute_surface_distances(truth, predicted, spacing_mm)
    return [float(surface_distance.compute_surface_dice_at_tolerance(distances, mm)) for mm in tolerances_mm]


def surface_scores(truth: np.ndarray, predicted: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """KiTS23's surface Dice of one case.

    Args:
        truth: uint8 class ids (z, y, x).
        predicted: uint8 class ids of the same shape.
        spacing_mm: voxel size along (z, y, x), in mm.

    Returns:
        dict of `kidney_and_mass_surface_dice`, `mass_surface_dice` and `tumor_surface_dice`.

    Raises:
        ValueError: as surface_dice.
    """
    kidney_mm, mass_mm, tumor_mm = TOLERANCES_MM.values()
    kidney = surface_dice(foreground(truth), foreground(predicted), spacing_mm, [kidney_mm])
    lesions = surface_dice(tumor(truth), tumor(predicted), spacing_mm, [mass_mm, tumor_mm])
    return dict(zip(COLUMNS, kidney + lesions, strict=True))
