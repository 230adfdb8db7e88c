"""Geometry as TensorFlow functions: used eagerly by data_prep and inside the exported graph by the cascade.

One implementation for both, so that preparation and serving cannot disagree. Arrays are (z, y, x).
"""
