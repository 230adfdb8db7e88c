"""Packs predictions as a KiTS19 submission: one zip of prediction_00210.nii.gz to prediction_00299.nii.gz."""

TEST_CASES = range(210, 300)  # KiTS19's test set, whose labels are not published
