"""Turns records into batches: sampling.py draws examples, augment.py augments them, pipeline.py combines both."""
