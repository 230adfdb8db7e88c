"""Training of one stage on one fold, from records to a run folder (kits_tf/files/runs.py)."""
