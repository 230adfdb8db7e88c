"""Scans on disk: finds them, reads NIfTI and DICOM as canonical Volumes, writes labels, warns of what looks wrong."""
