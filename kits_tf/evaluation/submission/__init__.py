"""Packs predictions as KiTS19 takes submissions: one zip of prediction_00210.nii.gz to prediction_00299.nii.gz."""

TEST_CASES = range(210, 300)  # KiTS19's, without published labels
