"""Dice scores as in KiTS19: kidney with tumor (`tk_dice`), tumor alone (`tu_dice`) and the mean of the two.

`mass_dice` is KiTS23's, of tumor or cyst, for ground truth in which cysts are labeled.

Takes two label arrays; returns scores from 0 (no overlap) to 1 (identical).

Source: Heller et al. 2021, The state of the art in kidney and kidney tumor segmentation in contrast-enhanced CT
imaging, arXiv:1912.01054; regions as in neheller/kits19, starter_code/evaluation.py. That code divides zero by zero
if a region is empty in both arrays; we score 1, as KiTS23 does.
"""

import numpy as np

from kits_tf.labels import foreground, tumor

COLUMNS = ("tk_dice", "tu_dice", "composite_dice", "mass_dice")


def dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Computes Dice: twice the overlap over the sum of sizes, from 0 to 1.

    Args:
        truth: bool array of any shape.
        predicted: bool array of the same shape.

    Returns:
        A float; 1 if both masks are empty, 0 if only one is.

    Raises:
        ValueError: if the shapes differ.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth {truth.shape} and predicted {predicted.shape} must have one shape")
    size = np.count_nonzero(truth) + np.count_nonzero(predicted)
    if size == 0:
        return 1.0
    return 2.0 * np.count_nonzero(truth & predicted) / size


def masses(labels: np.ndarray, cysts: np.ndarray | None) -> np.ndarray:
    """Returns the mask of tumor or cyst of class ids (z, y, x); `cysts` is the mask of cysts, None for none."""
    return tumor(labels) if cysts is None else tumor(labels) | cysts


def dice_scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Computes KiTS19's scores of one case.

    Args:
        truth: uint8 class ids (z, y, x).
        predicted: uint8 class ids of the same shape.

    Returns:
        dict of `tk_dice` (kidney with tumor against background), `tu_dice` (tumor against all else) and
        `composite_dice`, their mean, which determines KiTS19's ranking.

    Raises:
        ValueError: if the shapes differ.
    """
    tk_dice = dice(foreground(truth), foreground(predicted))
    tu_dice = dice(tumor(truth), tumor(predicted))
    return {"tk_dice": tk_dice, "tu_dice": tu_dice, "composite_dice": (tk_dice + tu_dice) / 2.0}
