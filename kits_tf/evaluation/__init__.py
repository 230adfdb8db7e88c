"""Scores of predictions against ground truth, per case and over a study; KiTS19 submissions."""
