"""From records to batches: sampling.py draws examples, augment.py varies them, pipeline.py puts them together."""
