"""Tumor refinement stage: the fine stage's crops. Which slices an epoch sees, and the roughened kidney mask beside the
scan, are drawn anew in training (kits_tf/inputs)."""

from data_prep.fine import examples

__all__ = ["examples"]
