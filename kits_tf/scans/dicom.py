"""Reads a CT series from a folder or a zip as a Volume, and writes labels as a DICOM segmentation (DICOM SEG).

highdicom assembles the slices. This module detects and names what prevents that: slices of several series, missing,
duplicate or damaged slices, a tilted gantry, another modality.

No slice is skipped silently. Only files that are clearly no slices are skipped: objects whose SOP class has no image
(DICOMDIR, reports, segmentations, presentation states, ...), hidden files, text files, and files of other formats. An
empty, truncated or unknown file raises an error that names it, because it may have been a slice.
"""

import copy
import hashlib
import io
import pathlib
import re
import warnings
import zipfile
import zlib

import highdicom as hd
import numpy as np
import pydicom
from highdicom.sr.coding import CodedConcept
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import get_decoder
from pydicom.sr.codedict import codes

from kits_tf import labels as classes
from kits_tf.errors import InputError
from kits_tf.files.atomic import write_bytes
from kits_tf.scans.discovery import DICOM_MARK, ENDINGS
from kits_tf.scans.limits import check_extent, check_spacing, check_voxels, is_bomb
from kits_tf.volume import Volume, spacing_of

# pydicom also warns of the errors it finds in a file; our InputError reports them once, in one line.
warnings.filterwarnings("ignore", module="pydicom")

MOST_BYTES = 2**33  # of all files of a series, unpacked
MOST_DEFLATED_BYTES = 2**26  # of one file of the deflated transfer syntax, unpacked
HEAD_BYTES = 4096  # at the start of a file, enough to see whether it may be DICOM
MOST_TILT_DEGREES = 0.5
SPACING_TOLERANCE = 0.05  # of the median distance between slices
SAME_PLACE_MM = 1e-3
SLICE_CLASSES = (pydicom.uid.CTImageStorage,)
# SOP classes of objects that are no images, by their DICOM names. Some have pixels nevertheless: masks, doses.
NO_IMAGE = re.compile(r"Directory|Segmentation|Presentation State|\bSR\b|Key Object|Encapsulated|RT (?!Image)|Waveform"
                      r"|Registration|ECG|Fiducials|Raw Data|Real World Value|Tractography|Protocol|Procedure")
# First bytes of other formats: PNG, JPEG, GIF, TIFF, PDF, zip, gzip, 7z, rar, Microsoft's (Thumbs.db), SQLite; and of
# UTF-16 text.
OTHER_FORMATS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"%PDF", b"PK\3\4", b"\x1f\x8b",
                 b"7z\xbc\xaf", b"Rar!", b"\xd0\xcf\x11\xe0", b"SQLite format", b"\xff\xfe", b"\xfe\xff")
SAME = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "FrameOfReferenceUID")  # in every slice
NUMBERS = {"PixelSpacing": 2, "ImageOrientationPatient": 6, "ImagePositionPatient": 3}
READ = (*SAME, "ImagePositionPatient", "RescaleSlope", "RescaleIntercept", "BitsAllocated", "SamplesPerPixel",
        "SOPClassUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "ImageType",
        "NumberOfFrames", "SliceThickness", "SpacingBetweenSlices")
THICKNESS = ("SpacingBetweenSlices", "SliceThickness")  # for a single slice, the more reliable field first
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
CANONICAL = "FPL"  # the axes' directions in DICOM's letters: to feet, back and left

# SNOMED CT codes from DICOM's context groups CID 7151 and 7192.
_SEGMENTS = {
    classes.KIDNEY: ("kidney", codes.SCT.Organ, CodedConcept("64033007", "SCT", "Kidney")),
    classes.TUMOR: ("kidney tumor", codes.SCT.MorphologicallyAbnormalStructure,
                    CodedConcept("108369006", "SCT", "Neoplasm")),
}


def _one_line(value):
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(value)).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


def _datasets(path):
    """Reads all DICOM images in a folder or zip; returns a list of (name, pydicom Dataset)."""
    try:
        found = [(name, _dataset(path, name, data)) for name, data in _dicom_files(path)]
    except InputError:
        raise
    except Exception as error:  # zipfile raises many types, zlib.error among them
        raise InputError(f"{path}: cannot be read as DICOM ({_one_line(error) or type(error).__name__})") from error
    return [(name, dataset) for name, dataset in found if dataset is not None]


def _dataset(path, name, data):
    """Parses one file and decodes the fields in READ; returns a pydicom Dataset, or None if it is no image."""
    try:
        _check_deflated(path, name, data)
        dataset = pydicom.dcmread(io.BytesIO(data))
        kind = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
        if kind and NO_IMAGE.search(kind.name):
            return None
        if "PixelData" not in dataset:
            what = _one_line(kind.name) if kind else "and no SOPClassUID"
            raise InputError(f"{path}: {name} has no pixels ({what}); it is truncated, damaged or not a slice: "
                             f"copy it again, or remove it")
        for field in READ:  # pydicom decodes a field only when it is accessed
            dataset.get(field)
        for field, count in NUMBERS.items():
            numbers = np.ravel(np.array(dataset.get(field) or [], float))
            if numbers.size not in (0, count) or not np.isfinite(numbers).all():
                raise ValueError(f"its {field} is {numbers.tolist()}, expected {count} numbers")
    except InputError:
        raise
    except Exception as error:  # a damaged file raises struct.error, BytesLengthException and others
        raise InputError(f"{path}: {name} cannot be read as DICOM ({_one_line(error) or type(error).__name__}); is it "
                         f"damaged?") from error
    return dataset


def _dicom_files(path):
    """Yields name and bytes of each DICOM file in a folder or zip, sorted by name."""
    if path.is_dir():
        children = [child for child in sorted(path.iterdir()) if child.is_file()]
        _check_bytes(path, sum(child.stat().st_size for child in children))
        for child in children:
            with open(child, "rb") as stream:
                if _is_dicom(path, child.name, stream.read(HEAD_BYTES)):
                    stream.seek(0)
                    yield _one_line(child.name), stream.read()
        return
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        size = sum(entry.file_size for entry in entries)
        _check_bytes(path, size)
        if is_bomb(size, path.stat().st_size):
            raise InputError(f"{path}: unpacks to {size / path.stat().st_size:.0f} times its size, as no series does; "
                             f"is it a zip bomb?")
        for entry in sorted(entries, key=lambda entry: entry.filename):
            with archive.open(entry) as stream:
                head = stream.read(HEAD_BYTES)
                if _is_dicom(path, entry.filename, head):
                    yield _one_line(entry.filename), head + stream.read()


def _check_bytes(path, size):
    if size > MOST_BYTES:
        raise InputError(f"{path}: unpacks to {size / 2**30:.0f} GiB, expected one CT series")


def _check_deflated(path, name, data):
    """Checks that a deflated file unpacks to the size of a slice at most, before pydicom unpacks it."""
    stream = io.BytesIO(data)
    try:
        read_preamble(stream, force=False)
        meta = read_dataset(stream, is_implicit_VR=False, is_little_endian=True,
                            stop_when=lambda tag, *_: tag.group != 2)  # the stream then is at the packed part
        if meta.get("TransferSyntaxUID") != pydicom.uid.DeflatedExplicitVRLittleEndian:
            return
    except Exception:  # pydicom fails on the same bytes later, and that error is reported
        return
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
    unpacking.decompress(stream.read(), MOST_DEFLATED_BYTES)
    if unpacking.unconsumed_tail:
        raise InputError(f"{path}: {name} unpacks to more than {MOST_DEFLATED_BYTES // 2**20} MiB, as no slice does")


def _is_dicom(path, name, head):
    """Returns whether a file's first bytes are DICOM; raises InputError for a file that may be a damaged slice."""
    if head[DICOM_MARK] == b"DICM":
        return True
    base = name.rsplit("/", 1)[-1]
    if base.startswith(".") or base.lower().endswith(ENDINGS):
        return False
    if not head:
        raise InputError(f"{path}: {_one_line(name)} is empty; copy it again, or remove it if it is no slice")
    if head.startswith(OTHER_FORMATS) or _is_text(head):
        return False
    raise InputError(f"{path}: {_one_line(name)} does not say that it is DICOM (DICM from byte {DICOM_MARK.start}); it "
                     f"is truncated, damaged or not a slice: copy it again, or remove it")


def _is_text(head):
    """Returns whether bytes are text: UTF-8, or an older encoding with few non-ASCII letters (1 in 8)."""
    text = head.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    return broken < 1 + len(text) / 8 and all(letter.isprintable() or letter.isspace() for letter in text)


def read_series(path: str | pathlib.Path) -> tuple[Volume, list[pydicom.Dataset]]:
    """Reads a CT series.

    Args:
        path: folder with the files of one series (subfolders are ignored), or a zip of them. Files that are clearly no
            slices are skipped, see the module's docstring.

    Returns:
        (volume, slices): Volume in HU in the canonical orientation, int16 (float32 if a value is not a whole number
        or does not fit int16), and the slices' pydicom Datasets, for write_segmentation. For a single slice the volume
        has a warning that names the source of its thickness.

    Raises:
        InputError: if the files are not one series of evenly spaced CT slices without gantry tilt, if one of them is
            damaged, or if the scan exceeds a limit of limits.py.
    """
    path = pathlib.Path(path)
    named = _datasets(path)
    if not named:
        raise InputError(f"{path}: contains no DICOM image; expected the slices of one CT series")
    slices, doubts = [dataset for _, dataset in named], []
    try:
        _check_series(path, named)
        between_mm = _check_stack(path, slices)
        if between_mm is None:
            between_mm, doubts = _thickness(path, *named[0])
        first = slices[0]
        check_extent(path, (len(slices), int(first.Rows), int(first.Columns)),
                     [float(mm) for mm in (between_mm, *first.PixelSpacing)])
        check_voxels(path, (len(slices), int(first.Rows), int(first.Columns)))
        _check_pixels(path, named)
        for dataset in slices:  # they differ only by rounding, which highdicom rejects
            dataset.PixelSpacing, dataset.ImageOrientationPatient = first.PixelSpacing, first.ImageOrientationPatient
        stacked = slices
        if len(slices) == 1:  # without SpacingBetweenSlices highdicom assumes 1 mm
            stacked = [copy.deepcopy(first)]
            stacked[0].SpacingBetweenSlices = between_mm
        stack = hd.get_volume_from_series(stacked, dtype=np.float32, apply_real_world_transform=False,
                                          apply_modality_transform=True, apply_presentation_lut=False,
                                          rtol=SPACING_TOLERANCE)
        stack = stack.to_patient_orientation(CANONICAL)
        affine = LPS_TO_RAS @ stack.affine
        check_spacing(path, spacing_of(affine))
        voxels = np.ascontiguousarray(stack.array)
        if not np.isfinite(voxels).all():
            raise InputError(f"{path}: has voxels that are NaN or infinite, expected Hounsfield units")
        whole = np.clip(voxels, -2**15, 2**15 - 1).astype(np.int16)
        volume = Volume(whole if np.array_equal(whole, voxels) else voxels, spacing_of(affine), affine, tuple(doubts))
    except InputError:
        raise
    except Exception as error:  # a damaged value can raise anything in highdicom, pydicom or a decoder
        raise InputError(f"{path}: its slices cannot be put together ({_one_line(error) or type(error).__name__})"
                         ) from error
    return volume, slices


def _thickness(path, name, dataset):
    """Returns (mm, doubts) for a single slice, which has no neighbor to measure the slice distance from."""
    for field in THICKNESS:
        if dataset.get(field):
            mm = float(dataset.get(field))
            return mm, [f"It is a single slice; its thickness of {mm:g} mm is that of its {field}."]
    raise InputError(f"{path}: {name} is a single slice and does not say how thick it is (no {' or '.join(THICKNESS)})")


def _check_pixels(path, named):
    """Checks that all pixels can be decoded: none are truncated, and a decoder for their compression is installed."""
    for name, dataset in named:
        syntax = dataset.file_meta.get("TransferSyntaxUID")
        if syntax is None:
            raise InputError(f"{path}: {name} does not say how it is stored (no TransferSyntaxUID); is it damaged?")
        if syntax.is_encapsulated and not _can_decode(syntax):
            raise InputError(f"{path}: {name} is compressed as {_one_line(syntax.name)}, which cannot be read here; "
                             f"convert the series with dcmdjpeg or gdcmconv --raw, or pip install pylibjpeg "
                             f"pylibjpeg-libjpeg")
        try:
            dataset.convert_pixel_data()  # pydicom caches the pixels, so highdicom does not decode them again
        except Exception as error:
            raise InputError(f"{path}: its slices cannot be put together (the pixels of {name} cannot be read: "
                             f"{_one_line(error) or type(error).__name__}); is it truncated or damaged?") from error


def _can_decode(syntax):
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _check_series(path, named):
    """Checks that the files are one series of CT slices with consistent fields."""
    series = {}
    for name, dataset in named:
        series.setdefault(dataset.get("SeriesInstanceUID"), []).append((name, dataset))
    if len(series) > 1:
        listed = ", ".join(sorted(f"{_describe(members[0][1])} with {len(members)} files"
                                  for members in series.values()))
        raise InputError(f"{path}: holds {len(series)} series ({listed}); give a folder with one of them")
    for name, dataset in named:
        kind = dataset.get("SOPClassUID")
        if kind not in SLICE_CLASSES:
            raise InputError(f"{path}: {name} {f'is a {_one_line(kind.name)}' if kind else 'has no SOPClassUID'}, "
                             f"expected CT Image Storage, a file per slice")
        if "LOCALIZER" in dataset.get("ImageType", []):
            raise InputError(f"{path}: {name} is a localizer; expected axial slices only")
        for field in ("RescaleSlope", "RescaleIntercept"):  # an anonymizer may leave the field empty
            if dataset.get(field) in (None, ""):
                raise InputError(f"{path}: {name} does not say how its values become Hounsfield units (no {field})")
    first_name, first = named[0]
    for field in SAME:
        for name, dataset in named:
            value, expected = dataset.get(field), first.get(field)
            if value is None or (value == "" and field in NUMBERS):  # an anonymizer may empty a UID
                raise InputError(f"{path}: {name} has no {field}, which every slice of a series has")
            same = (np.allclose(value, expected, atol=1e-4) if isinstance(expected, pydicom.multival.MultiValue)
                    and isinstance(value, pydicom.multival.MultiValue) else value == expected)
            if not same:
                raise InputError(f"{path}: {name} has {field} {_one_line(value)} and {first_name} "
                                 f"{_one_line(expected)}; slices of one series have the same")
    for name, dataset in named:
        if not dataset.get("ImagePositionPatient"):
            raise InputError(f"{path}: {name} has no ImagePositionPatient, which every slice of a series has")


def _describe(dataset):
    text = " ".join(str(dataset.get("SeriesDescription") or "").split())
    return _one_line(f"{dataset.get('Modality')} {dataset.get('SeriesNumber', '')} {text!r}")


def _check_stack(path, slices):
    """Checks that slices are evenly spaced along their normal; returns their distance in mm, None for one slice."""
    row, column = np.reshape([float(value) for value in slices[0].ImageOrientationPatient], (2, 3))
    normal = np.cross(row, column)
    positions = np.array([[float(value) for value in dataset.ImagePositionPatient] for dataset in slices])
    positions = positions[np.argsort(positions @ normal)]
    along = positions @ normal
    if len(along) < 2:
        return None
    steps = np.diff(along)
    doubled = np.flatnonzero(steps < SAME_PLACE_MM)
    if doubled.size:
        raise InputError(f"{path}: has two slices at {along[doubled[0]]:.1f} mm; is this more than one phase, or are "
                         f"files duplicated?")
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
    return usual


def write_segmentation(path: str | pathlib.Path, labels: Volume, slices: list[pydicom.Dataset], version: str) -> bool:
    """Writes labels as a DICOM segmentation that refers to the slices of the scan, atomically.

    Kidney and tumor are one binary segment each; a class without voxels has no segment. The same labels of the same
    series give the same bytes.

    Args:
        path: the .dcm file.
        labels: Volume of class ids, with the geometry of read_series' volume.
        slices: the Datasets that read_series returned.
        version: of the software and model, as text.

    Returns:
        True if the file was written; False for empty labels, because a DICOM segmentation needs a segment.

    Raises:
        InputError: if the series has a damaged value that the segmentation copies. The message does not name the file.
    """
    found = [class_id for class_id in _SEGMENTS if (labels.voxels == class_id).any()]
    if not found:
        return False
    try:
        data = _segmentation(labels, slices, version, found)
    except Exception as error:  # a damaged value of the series outside the pixels, such as a date
        raise InputError(f"no DICOM segmentation can be made of the series ({_one_line(error)}); leave dicomseg out of "
                         f"--output_format") from error
    write_bytes(path, data)
    return True


def _segmentation(labels, slices, version, found):
    """Returns the bytes of a segmentation of the classes that were found."""
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
    # Use the scan's dates, not today's, and no random numbers, so that the same case gives the same bytes.
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
    return stream.getvalue()
