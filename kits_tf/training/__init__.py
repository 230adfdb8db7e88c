"""Trains one stage on one fold: reads records and writes a run folder (kits_tf/files/runs.py)."""
