"""Geometry as TensorFlow functions, used eagerly by data_prep and inside the exported graph by the cascade.

Both use the same implementation, so preparation and serving give the same results. Arrays are (z, y, x).
"""
