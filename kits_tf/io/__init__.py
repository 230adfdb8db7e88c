"""Files in and out: nifti.py for volumes, records.py for training examples."""
