"""Reads the scan and the labels of a case, and writes labels, in whichever format: NIfTI, NRRD, MetaImage or DICOM.

The other modules of this folder know one format each.
"""

import os
import pathlib

import numpy as np

from kits_tf import lazy
from kits_tf.files.checksums import file_facts, folder_digest
from kits_tf.scans import itk, nifti
from kits_tf.scans.discovery import ENDINGS, Case
from kits_tf.scans.label_map import KITS19, LabelMap
from kits_tf.scans.orientation import invert, reorient, to_canonical_transform
from kits_tf.volume import Volume


def read_scan(case: Case) -> tuple[Volume, list | None]:
    """Reads the scan of a case.

    Returns:
        (volume, slices): a Volume in Hounsfield units in the canonical orientation, and the slices of a DICOM series
        (dicom.read_series), or None for other formats.

    Raises:
        InputError: if the case has doubles or cannot be used, or as read_volume and read_series of the format.
    """
    case.check_single()
    if case.is_series:
        return lazy.load("kits_tf.scans.dicom").read_series(case.imaging, case.files)
    read = itk.read_volume if itk.is_itk(case.imaging) else nifti.read_volume
    return read(case.imaging), None


def read_labels(path: str | pathlib.Path, labels: LabelMap = KITS19) -> tuple[Volume, np.ndarray | None]:
    """Reads labels and gives their values a meaning.

    Returns:
        (class ids, mask of cysts), as LabelMap.apply.

    Raises:
        InputError: as read_labels of the format, and if a value has no meaning.
    """
    read = itk.read_labels if itk.is_itk(path) else nifti.read_labels
    return labels.apply(read(path, labels.names, labels.remedies))


def facts_of(case: Case) -> dict | None:
    """Returns size and SHA-256 of a case's scan, or one SHA-256 of all its files if there are several.

    None if the file is missing. Two cases with the same facts have the same scan.

    Raises:
        InputError: if a file cannot be read.
    """
    path = case.imaging
    files = case.files or nifti.pair_of(path)
    if not files and itk.is_itk(path):
        files = itk.parts_of(path)
    if not files:
        return file_facts(path)
    above = path.absolute().parent
    return {"sha256": folder_digest(above, [os.path.relpath(file.absolute(), above) for file in files])}


def write_labels(path: str | pathlib.Path, labels: Volume, case: Case, plain: bool = False) -> None:
    """Writes labels in the geometry of a case's scan, in the format of the path's ending, atomically.

    Args:
        path: the file, .nii.gz, .nii, .nrrd or .mha.
        labels: Volume of class ids in the canonical orientation, on the scan's grid.
        case: the case; a DICOM series has no axis order of its own, and its labels have axes (z, y, x).
        plain: whether to leave out the texts of a NIfTI scan's header.

    Raises:
        InputError: if the scan's header cannot be read, or SimpleITK is needed and not installed.
    """
    as_nifti, scan_is_itk = str(path).lower().endswith(ENDINGS), itk.is_itk(case.imaging) and not case.is_series
    if not case.is_series and as_nifti and not scan_is_itk and not plain:
        nifti.write_labels(path, labels.voxels, like=case.imaging)
    elif scan_is_itk and not as_nifti:
        itk.write_labels(path, labels.voxels, like=case.imaging)
    else:
        stored = _stored(labels, case)
        if as_nifti:
            nifti.write_volume(path, stored)
        else:
            itk.write_stored(path, stored.voxels, stored.affine)


def _stored(labels, case):
    """Returns labels in the axis order of the scan's file."""
    if case.is_series:
        return labels
    _, affine = (itk if itk.is_itk(case.imaging) else nifti).read_stored_geometry(case.imaging)
    return Volume.from_affine(reorient(labels.voxels, invert(to_canonical_transform(affine))), affine)


def ending_like(case: Case) -> str:
    """Returns the ending of labels in a scan's own format: .nrrd, .mha, or .nii.gz for NIfTI and DICOM."""
    if case.is_series:
        return ENDINGS[0]
    return itk.WRITTEN.get(case.imaging.suffix.lower(), ENDINGS[0])
