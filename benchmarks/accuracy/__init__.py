"""Accuracy on synthetic CT around real anatomy: python -m benchmarks.accuracy (README.md)."""
