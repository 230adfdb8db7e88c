"""Accuracy on drawn CT around real anatomy: python -m benchmarks.accuracy (README.md)."""
