"""Scores predictions against ground truth, per case and over a study; packs KiTS19 submissions."""
