"""Files in and out: nifti.py for volumes, records.py for training examples, files.py and lock.py for all of them."""
