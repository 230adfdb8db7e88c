"""Writes predictions for human readers: measurements, overlay pictures, web pages, and the output folder."""
