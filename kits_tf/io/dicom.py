"""DICOM in, DICOM SEG out: a CT series in a folder or a zip becomes a Volume, labels become a segmentation object.

highdicom puts the slices together; what makes a series no volume is looked for here and named: slices of several
series, missing or doubled slices, a tilted gantry, another modality.
"""

import hashlib
import io
import pathlib
import zipfile

import highdicom as hd
import numpy as np
import pydicom
from highdicom.sr.coding import CodedConcept
from pydicom.sr.codedict import codes

from kits_tf import labels as classes
from kits_tf.io.files import write_bytes
from kits_tf.io.study import DICOM_MARK, is_dicom
from kits_tf.volume import InputError, Volume

MOST_BYTES = 2**33  # of a zip's files, unpacked
MOST_TILT_DEGREES = 0.5
SPACING_TOLERANCE = 0.05  # of the median distance between slices
SAME_PLACE_MM = 1e-3
SLICE_CLASSES = (pydicom.uid.CTImageStorage,)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
CANONICAL = "FPL"  # the axes' directions in DICOM's letters: to the feet, back and left

# SNOMED CT, as DICOM's CID 7151 and 7192 list them.
_SEGMENTS = {
    classes.KIDNEY: ("kidney", codes.SCT.Organ, CodedConcept("64033007", "SCT", "Kidney")),
    classes.TUMOR: ("kidney tumor", codes.SCT.MorphologicallyAbnormalStructure,
                    CodedConcept("108369006", "SCT", "Neoplasm")),
}


def _datasets(path):
    """All DICOM objects with an image in a folder or zip: a list of (name, pydicom Dataset)."""
    try:
        found = [(name, pydicom.dcmread(io.BytesIO(data))) for name, data in _dicom_files(path)]
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError,
            pydicom.errors.InvalidDicomError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as DICOM ({' '.join(str(error).split())})") from error
    return [(name, dataset) for name, dataset in found if "PixelData" in dataset]


def _dicom_files(path):
    """Name and bytes of each DICOM file in a folder or zip, sorted by name."""
    if path.is_dir():
        for child in sorted(path.iterdir()):
            if child.is_file() and is_dicom(child):
                yield child.name, child.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        size = sum(entry.file_size for entry in entries)
        if size > MOST_BYTES:
            raise InputError(f"{path}: unpacks to {size / 2**30:.0f} GiB, expected one CT series")
        for entry in sorted(entries, key=lambda entry: entry.filename):
            data = archive.read(entry)
            if data[DICOM_MARK] == b"DICM":
                yield entry.filename, data


def read_series(path: str | pathlib.Path) -> tuple[Volume, list[pydicom.Dataset]]:
    """Reads a CT series.

    Args:
        path: folder that holds the files of one series, or a zip of them; objects without an image are passed over.

    Returns:
        (volume, slices): Volume of int16 HU (float32 if they are no whole numbers) in the canonical orientation, and
        the slices' pydicom Datasets, for write_segmentation.

    Raises:
        InputError: if the files are not one series of CT slices that lie evenly on a straight, untilted stack.
    """
    path = pathlib.Path(path)
    named = _datasets(path)
    if not named:
        raise InputError(f"{path}: holds no DICOM image, expected the slices of one CT series")
    slices = [dataset for _, dataset in named]
    try:
        _check_series(path, named)
        _check_stack(path, slices)
        stack = hd.get_volume_from_series(slices, dtype=np.float32, apply_real_world_transform=False,
                                          apply_modality_transform=True, apply_presentation_lut=False,
                                          rtol=SPACING_TOLERANCE)
    except (ValueError, AttributeError, KeyError, RuntimeError, NotImplementedError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: its slices cannot be put together ({' '.join(str(error).split())[:200]})") from error
    stack = stack.to_patient_orientation(CANONICAL)
    voxels = np.ascontiguousarray(stack.array)
    if not np.isfinite(voxels).all():
        raise InputError(f"{path}: has voxels that are NaN or infinite, expected Hounsfield units")
    whole = voxels.astype(np.int16)
    return Volume.from_affine(whole if np.array_equal(whole, voxels) else voxels, LPS_TO_RAS @ stack.affine), slices


def _check_series(path, named):
    """Refuses what is not one series of CT slices."""
    series = {}
    for name, dataset in named:
        series.setdefault(dataset.get("SeriesInstanceUID"), []).append((name, dataset))
    if len(series) > 1:
        listed = ", ".join(sorted(f"{_describe(members[0][1])} with {len(members)} files"
                                  for members in series.values()))
        raise InputError(f"{path}: holds {len(series)} series ({listed}); give a folder with one of them")
    for name, dataset in named:
        if dataset.SOPClassUID not in SLICE_CLASSES:
            raise InputError(f"{path}: {name} is a {dataset.SOPClassUID.name}, expected CT Image Storage, a file per "
                             f"slice")
        if "LOCALIZER" in dataset.get("ImageType", []):
            raise InputError(f"{path}: {name} is a localizer, expected axial slices alone")
        if "RescaleSlope" not in dataset or "RescaleIntercept" not in dataset:
            raise InputError(f"{path}: {name} does not say how its values become Hounsfield units (no RescaleSlope)")
    first_name, first = named[0]
    for field in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "FrameOfReferenceUID"):
        for name, dataset in named:
            value, expected = dataset.get(field), first.get(field)
            same = (np.allclose(value, expected, atol=1e-4) if isinstance(expected, pydicom.multival.MultiValue)
                    and isinstance(value, pydicom.multival.MultiValue) else value == expected)
            if value is None or not same:
                raise InputError(f"{path}: {name} has {field} {value} and {first_name} {expected}; slices of one "
                                 f"series have the same")


def _describe(dataset):
    text = " ".join(str(dataset.get("SeriesDescription") or "").split())
    return f"{dataset.get('Modality')} {dataset.get('SeriesNumber', '')} {text!r}".replace("  ", " ")


def _check_stack(path, slices):
    """Refuses slices that are not evenly spaced along their own normal."""
    row, column = np.reshape([float(value) for value in slices[0].ImageOrientationPatient], (2, 3))
    normal = np.cross(row, column)
    positions = np.array([[float(value) for value in dataset.ImagePositionPatient] for dataset in slices])
    positions = positions[np.argsort(positions @ normal)]
    along = positions @ normal
    if len(along) < 2:
        return
    steps = np.diff(along)
    doubled = np.flatnonzero(steps < SAME_PLACE_MM)
    if doubled.size:
        raise InputError(f"{path}: has two slices at {along[doubled[0]]:.1f} mm; is this more than one phase, or are "
                         f"files doubled?")
    usual = float(np.median(steps))
    gaps = np.flatnonzero(np.abs(steps - usual) > SPACING_TOLERANCE * usual)
    if gaps.size:
        at = gaps[0]
        raise InputError(f"{path}: slices are {usual:.2f} mm apart, but {steps[at]:.2f} mm between {along[at]:.1f} and "
                         f"{along[at + 1]:.1f} mm; are some missing?")
    stacking = positions[-1] - positions[0]
    tilt = np.degrees(np.arccos(np.clip(stacking @ normal / np.linalg.norm(stacking), -1, 1)))
    if tilt > MOST_TILT_DEGREES:
        raise InputError(f"{path}: its gantry was tilted by {tilt:.1f} degrees; resample the series to a straight "
                         f"stack first")


def write_segmentation(path: str | pathlib.Path, labels: Volume, slices: list[pydicom.Dataset], version: str) -> bool:
    """Writes labels as a DICOM segmentation of the slices they were made from, whole or not at all.

    Kidney and tumor are a binary segment each; a class that was not found has none. The same labels of the same series
    give the same bytes.

    Args:
        path: the .dcm file.
        labels: Volume of class ids, as read_series' volume lies.
        slices: what read_series returned.
        version: of the software and model, as text.

    Returns:
        True if there is anything to write: DICOM knows no segmentation without a segment.
    """
    found = [class_id for class_id in _SEGMENTS if (labels.voxels == class_id).any()]
    if not found:
        return False
    masks = np.stack([labels.voxels == class_id for class_id in found], axis=-1)
    stack = hd.Volume(masks.astype(np.uint8), LPS_TO_RAS @ labels.affine, coordinate_system="PATIENT",
                      frame_of_reference_uid=slices[0].FrameOfReferenceUID,
                      channels={"SegmentNumber": list(range(1, len(found) + 1))})
    algorithm = hd.AlgorithmIdentificationSequence("kits_tf", codes.DCM.ArtificialIntelligence, version)
    descriptions = [
        hd.seg.SegmentDescription(number, name, category, kind, hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC, algorithm)
        for number, (name, category, kind) in enumerate((_SEGMENTS[class_id] for class_id in found), 1)]
    made_from = [slices[0].SeriesInstanceUID, version, hashlib.sha256(labels.voxels.tobytes()).hexdigest()]
    series_uid, instance_uid, dimensions_uid = (pydicom.uid.generate_uid(entropy_srcs=[*made_from, what])
                                                for what in ("series", "instance", "dimensions"))
    segmentation = hd.seg.Segmentation(
        source_images=slices, pixel_array=stack, segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions, series_instance_uid=series_uid, series_number=900,
        sop_instance_uid=instance_uid, instance_number=1, manufacturer="kits_tf", manufacturer_model_name="kits_tf",
        software_versions=version, device_serial_number="0", series_description="Kidney and tumor, kits_tf",
        content_label="KIDNEY_TUMOR")
    # Dates of the scan, not of today, and no random numbers: the same case gives the same bytes.
    for field in ("ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime", "SeriesDate",
                  "SeriesTime"):
        if field in segmentation:
            setattr(segmentation, field, slices[0].get("StudyDate" if field.endswith("Date") else "StudyTime", ""))
    for equipment in segmentation.ContributingEquipmentSequence:
        del equipment.ContributionDateTime
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions_uid
    stream = io.BytesIO()
    segmentation.save_as(stream)
    write_bytes(path, stream.getvalue())
    return True
