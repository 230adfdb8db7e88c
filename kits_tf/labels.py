"""Class ids of a label volume and how the classes nest, as KiTS19 defines them.

A tumor is part of the kidney that it grows in. The three kidney nets therefore segment the "foreground" (kidney with
tumor), and KiTS19 scores it as the kidney (`tk_dice`).
"""

import typing

BACKGROUND = 0
KIDNEY = 1
TUMOR = 2

NORMAL_KIDNEYS = 2  # in a patient; if the coarse net finds another number, the correction net runs

CLASS_NAMES = {BACKGROUND: "background", KIDNEY: "kidney", TUMOR: "tumor"}


def foreground(labels: typing.Any) -> typing.Any:
    """Returns the boolean mask of kidney with tumor, same shape as the labels (NumPy array or tensor)."""
    return labels >= KIDNEY


def tumor(labels: typing.Any) -> typing.Any:
    """Returns the boolean mask of tumor alone, same shape as the labels (NumPy array or tensor)."""
    return labels == TUMOR
