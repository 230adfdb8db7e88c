"""Takes enhanced CT apart: a DICOM file that holds all slices of a scan becomes one Dataset per slice.

The position, spacing and rescaling of each slice are in functional groups of the file, shared by all frames or per
frame; here they become attributes of the slice. dicom.py then reads the slices as it reads those of any series: it
sorts them, and refuses missing ones.

Source: DICOM PS3.3 A.38 (Enhanced CT Image) and C.7.6.16 (Multi-frame Functional Groups).
"""

import pathlib
from collections.abc import Callable

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian

from kits_tf.errors import InputError, one_line
from kits_tf.scans import dicom_files
from kits_tf.scans.limits import check_voxels

# The functional groups that a volume needs, and the fields in them.
GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}
OF_FILE = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesNumber",
           "SeriesDescription", "Modality", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation",
           "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
NO_VOLUME = ("LOCALIZER",)  # frame types


def split(path: str | pathlib.Path, named: list[tuple[str, pydicom.Dataset]],
          check: Callable[[str, pydicom.Dataset], None]) -> list[tuple[str, pydicom.Dataset]]:
    """Replaces every multi-frame CT by its frames.

    Args:
        path: as the user gave it, for messages.
        named: pairs of a file's name and its Dataset.
        check: called with a name and a multi-frame Dataset before its pixels are decoded; raises if they cannot be.

    Returns:
        The pairs. A frame is named "IM0001 frame 7" and is CT Image Storage without compression; its SOPInstanceUID is
        that of the file, and its InstanceNumber is its place in it, from 1.

    Raises:
        InputError: if a file does not say where its frames are, or has another number of frames than it claims.
    """
    taken = []
    for name, dataset in named:
        if dicom_files.class_of(dataset) in dicom_files.MULTI_FRAME:
            check(name, dataset)
            taken += _frames(path, name, dataset)
        else:
            taken.append((name, dataset))
    return taken


def _frames(path, name, dataset):
    """Returns the (name, Dataset) of the frames of one file."""
    groups, shared = dataset.get("PerFrameFunctionalGroupsSequence"), dataset.get("SharedFunctionalGroupsSequence")
    count = int(dataset.get("NumberOfFrames") or 0)
    if not groups:
        raise InputError(f"{path}: {name} holds all slices in one file and does not say where they are (no "
                         f"PerFrameFunctionalGroupsSequence)")
    if len(groups) != count:
        raise InputError(f"{path}: {name} claims {count} frames and says where {len(groups)} are; is it damaged?")
    check_voxels(path, (count, int(dataset.Rows), int(dataset.Columns)))
    try:
        pixels = dataset.pixel_array.reshape(count, int(dataset.Rows), int(dataset.Columns))
    except Exception as error:  # a decoder may raise anything
        raise InputError(f"{path}: the pixels of {name} cannot be read ({one_line(error)}); is "
                         f"it truncated or damaged?") from error
    frames = []
    for number, (group, plane) in enumerate(zip(groups, pixels, strict=True), start=1):
        kind = _group(group, shared, "CTImageFrameTypeSequence").get("FrameType") or ()
        if any(word in kind for word in NO_VOLUME):
            raise InputError(f"{path}: frame {number} of {name} is a localizer; expected axial slices only")
        frames.append((f"{name} frame {number}", _frame(dataset, group, shared, number, plane)))
    return frames


def _group(own, shared, sequence):
    """Returns the item of a functional group: the frame's own, else the shared one, else an empty Dataset."""
    for place in (own, shared[0] if shared else {}):
        items = place.get(sequence)
        if items:
            return items[0]
    return pydicom.Dataset()


def _frame(dataset, group, shared, number, plane):
    frame = pydicom.Dataset()
    frame.file_meta = pydicom.dataset.FileMetaDataset()
    frame.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for field in OF_FILE:
        if field in dataset:
            frame[field] = dataset[field]
    for sequence, fields in GROUPS.items():
        item = _group(group, shared, sequence)
        for field in fields:
            if field in item:
                frame[field] = item[field]
    frame.SOPClassUID, frame.InstanceNumber = dicom_files.CT, number
    frame.SOPInstanceUID = dataset.get("SOPInstanceUID") or dataset.file_meta.get("MediaStorageSOPInstanceUID")
    frame.PixelData = np.ascontiguousarray(plane).astype(plane.dtype.newbyteorder("<")).tobytes()
    frame["PixelData"].VR = "OW"
    return frame
