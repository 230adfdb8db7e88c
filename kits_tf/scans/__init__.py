"""Scans on disk: finds cases, reads NIfTI and DICOM as canonical Volumes, writes labels, warns about unusual scans."""
