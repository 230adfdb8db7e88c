"""Scores a model on real CT: whole scans with reference kidneys, and single slices with tumors (README.md)."""
