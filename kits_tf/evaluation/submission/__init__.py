"""Packs predictions as KiTS19 takes submissions: one zip of prediction_00210.nii.gz to prediction_00299.nii.gz."""

from kits_tf.evaluation.submission.packing import pack

__all__ = ["pack"]
