"""The classes of a label volume and what nests in what, as KiTS19 defines them.

A tumor is part of the kidney it grows in, so "foreground" (kidney with tumor) is what the three kidney nets
look for and what KiTS19 scores as the kidney (`tk_dice`).
"""

import typing

BACKGROUND = 0
KIDNEY = 1
TUMOR = 2

CLASS_NAMES = {BACKGROUND: "background", KIDNEY: "kidney", TUMOR: "tumor"}


def foreground(labels: typing.Any) -> typing.Any:
    """Kidney with tumor, as a boolean mask of the labels' shape (NumPy array or tensor)."""
    return labels >= KIDNEY


def tumor(labels: typing.Any) -> typing.Any:
    """Tumor alone, as a boolean mask of the labels' shape (NumPy array or tensor)."""
    return labels == TUMOR
