"""Reads a CT series from a folder, a list of its files, or a zip as a Volume: a file per slice, or enhanced CT.

highdicom turns the stack into the canonical orientation. This module detects and names what prevents that: slices of
several series, missing, duplicate or damaged slices, a tilted gantry, another modality. What a volume does not need,
such as names, dates and most UIDs, may be missing, empty or odd.

No slice is skipped silently; dicom_files.py says which files clearly are no slices.
"""

import io
import pathlib
import zipfile
from collections.abc import Sequence

import highdicom as hd
import numpy as np
import pydicom
from pydicom.pixels import get_decoder

from kits_tf.errors import InputError, few, one_line
from kits_tf.scans import dicom_files, multi_frame
from kits_tf.scans.discovery import DICOM_MARK, begins_like_dicom, series_below
from kits_tf.scans.limits import check_extent, check_spacing, check_voxels, is_bomb
from kits_tf.volume import Volume, spacing_of

MOST_BYTES = 2**33  # of all files of a series, unpacked
MOST_TILT_DEGREES = 0.5
SPACING_TOLERANCE = 0.05  # of the slice distance, from a slice to its place in an even stack
# The same for positions rounded more coarsely, as a share of the distance that a missing slice would make.
ROUNDED_TOLERANCE = 0.45
BESIDE_TOLERANCE = 0.5  # of a pixel, from a slice's origin to the line through all of them
DIRECTION_TOLERANCE = 0.02  # from a length of 1, or a right angle: directions may be rounded to two decimals
MOST_DECIMALS = 6  # of a position in mm; a rounding beyond does not matter
SAME_PLACE_MM = 1e-3
SAME = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")  # in every slice
NUMBERS = {"PixelSpacing": 2, "ImageOrientationPatient": 6, "ImagePositionPatient": 3}
READ = (*SAME, "ImagePositionPatient", "RescaleSlope", "RescaleIntercept", "BitsAllocated", "SamplesPerPixel",
        "SOPClassUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "SeriesNumber", "SeriesDescription",
        "ImageType", "NumberOfFrames", "SliceThickness", "SpacingBetweenSlices", "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence")
THICKNESS = ("SpacingBetweenSlices", "SliceThickness")  # for a single slice, the more reliable field first
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
CANONICAL = "FPL"  # the axes' directions in DICOM's letters: to feet, back and left
PLAIN = {(True, True): pydicom.uid.ImplicitVRLittleEndian, (False, True): pydicom.uid.ExplicitVRLittleEndian,
         (False, False): pydicom.uid.ExplicitVRBigEndian}  # by pydicom's (implicit VR, little endian)


def _datasets(path, files):
    """Reads all DICOM images in a folder, list of files or zip; returns a list of (name, pydicom Dataset)."""
    try:
        found = [(name, _dataset(path, name, data)) for name, data in _dicom_files(path, files)]
    except InputError:
        raise
    except Exception as error:  # zipfile raises many types, zlib.error among them
        raise InputError(f"{path}: cannot be read as DICOM ({one_line(error)})") from error
    return [(name, dataset) for name, dataset in found if dataset is not None]


def _dataset(path, name, data):
    """Parses one file and decodes the fields in READ; returns a pydicom Dataset, or None if it is no image."""
    try:
        dicom_files.check_deflated(path, name, data)
        dataset = pydicom.dcmread(io.BytesIO(data), force=data[DICOM_MARK] != b"DICM")
        dicom_files.drop_odd(dataset)
        if dicom_files.is_no_image(dataset):
            return None
        if "PixelData" not in dataset:
            kind = dicom_files.class_of(dataset)
            what = one_line(kind.name) if kind else "and no SOPClassUID"
            raise InputError(f"{path}: {name} has no pixels ({what}); it is truncated, damaged or not a slice: "
                             f"copy it again, or remove it")
        for field in READ:  # pydicom decodes a field only when it is accessed
            dataset.get(field)
        for field, count in NUMBERS.items():
            numbers = np.ravel(np.array(dataset.get(field) or [], float))
            if numbers.size not in (0, count) or not np.isfinite(numbers).all():
                raise ValueError(f"its {field} is {numbers.tolist()}, expected {count} numbers")
        if "TransferSyntaxUID" not in dataset.file_meta and not dataset["PixelData"].is_undefined_length:
            dataset.file_meta.TransferSyntaxUID = PLAIN[dataset.original_encoding]  # as a file without preamble is
    except InputError:
        raise
    except Exception as error:  # a damaged file raises struct.error, BytesLengthException and others
        raise InputError(f"{path}: {name} cannot be read as DICOM ({one_line(error)}); is it "
                         f"damaged?") from error
    return dataset


def _dicom_files(path, files):
    """Yields name and bytes of each DICOM file in a folder, list of files or zip, sorted by name."""
    if path.is_dir():
        files = files or [child for child in sorted(path.iterdir()) if child.is_file()]
        _check_bytes(path, sum(file.stat().st_size for file in files))
        for file in files:
            name = file.relative_to(path).as_posix()
            with open(file, "rb") as stream:
                if dicom_files.is_dicom(path, name, stream.read(dicom_files.HEAD_BYTES)):
                    stream.seek(0)
                    yield one_line(name), stream.read()
        return
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        entries.sort(key=lambda entry: entry.filename)
        size = sum(entry.file_size for entry in entries)
        _check_bytes(path, size)
        if is_bomb(size, path.stat().st_size):
            raise InputError(f"{path}: unpacks to {size / path.stat().st_size:.0f} times its size, as no series does; "
                             f"is it a zip bomb?")
        heads = []
        for entry in entries:
            with archive.open(entry) as stream:
                heads.append(stream.read(dicom_files.HEAD_BYTES))
        # A folder without any DICOM file is that of a viewer or the like: its files are no damaged slices.
        names = [entry.filename for entry in entries]
        folders = {_folder(name) for name, head in zip(names, heads, strict=True) if begins_like_dicom(head)}
        for entry, name, head in zip(entries, names, heads, strict=True):
            if (not folders or _folder(name) in folders) and dicom_files.is_dicom(path, name, head):
                yield one_line(name), archive.read(entry)


def _folder(name):
    return name.rpartition("/")[0]


def _check_bytes(path, size):
    if size > MOST_BYTES:
        raise InputError(f"{path}: unpacks to {size / 2**30:.0f} GiB, expected one CT series")


def read_series(path: str | pathlib.Path,
                files: Sequence[pathlib.Path] = ()) -> tuple[Volume, list[pydicom.Dataset]]:
    """Reads a CT series.

    Args:
        path: folder with the files of one series (subfolders are ignored), or a zip of them. Files that are clearly no
            slices are skipped, see dicom_files.py; so are localizers and series of another modality beside one of CT.
        files: the files to read in the folder or below it; all in the folder itself if not given.

    Returns:
        (volume, slices): Volume in HU in the canonical orientation, int16 (float32 if a value is not a whole number
        or does not fit int16), and the slices' pydicom Datasets, for write_segmentation. The volume's warnings say what
        was assumed of a single slice, and what was left out or is odd about the series.

    Raises:
        InputError: if the files are not one series of evenly spaced CT slices without gantry tilt, if one of them is
            damaged, or if the scan exceeds a limit of limits.py.
    """
    path = pathlib.Path(path)
    named = _datasets(path, files)
    if not named:
        below = [one_line(case.imaging.relative_to(path)) for case in series_below(path)] if path.is_dir() else []
        raise InputError(f"{path}: contains no DICOM image; expected the slices of one CT series"
                         + f"; it has {len(below)} series in {few(below)}: give one of these" * bool(below))
    try:
        named, warnings = _one_series(path, named)
        named = multi_frame.split(path, named, lambda name, dataset: _check_decoder(path, name, dataset))
        _check_series(path, named)
        warnings += _check_frame(path, named)
        named, between_mm, origin_mm = _stack(path, named)
        if between_mm is None:
            between_mm, found = _thickness(path, *named[0])
            warnings += found
        slices = [dataset for _, dataset in named]
        first = slices[0]
        shape = (len(slices), int(first.Rows), int(first.Columns))
        check_extent(path, shape, [float(mm) for mm in (between_mm, *first.PixelSpacing)])
        check_voxels(path, shape)
        _check_pixels(path, sorted(named, key=lambda pair: pair[0]))
        array = np.empty(shape, np.float32)
        for plane, dataset in zip(array, slices, strict=True):
            plane[:] = dataset.pixel_array * np.float32(dataset.RescaleSlope) + np.float32(dataset.RescaleIntercept)
        row, column = orientation_of(first)
        rows_mm, columns_mm = (float(mm) for mm in first.PixelSpacing)
        affine = np.eye(4)
        affine[:3] = np.array([np.cross(row, column) * between_mm, column * rows_mm, row * columns_mm, origin_mm]).T
        stack = hd.Volume(array, affine, coordinate_system="PATIENT").to_patient_orientation(CANONICAL)
        affine = LPS_TO_RAS @ stack.affine
        check_spacing(path, spacing_of(affine))
        voxels = np.ascontiguousarray(stack.array)
        if not np.isfinite(voxels).all():
            raise InputError(f"{path}: has voxels that are NaN or infinite, expected Hounsfield units")
        whole = np.clip(voxels, -2**15, 2**15 - 1).astype(np.int16)
        volume = Volume(whole if np.array_equal(whole, voxels) else voxels, spacing_of(affine), affine, tuple(warnings))
    except InputError:
        raise
    except Exception as error:  # a damaged value can raise anything in highdicom, pydicom or a decoder
        raise InputError(f"{path}: its slices cannot be put together ({one_line(error)})"
                         ) from error
    return volume, slices


def even_positions(slices: list[pydicom.Dataset]) -> np.ndarray:
    """Returns the positions (slices, 3) in LPS that read_series gives the slices that it returned, in mm."""
    normal = np.cross(*orientation_of(slices[0]))
    first, last = (np.array([float(mm) for mm in dataset.ImagePositionPatient]) for dataset in (slices[0], slices[-1]))
    return first + np.outer(np.linspace(0, (last - first) @ normal, len(slices)), normal)


def orientation_of(dataset: pydicom.Dataset) -> np.ndarray:
    """Returns the directions of increasing column and row index, (2, 3), as unit vectors at a right angle.

    Raises:
        ValueError: if ImageOrientationPatient is not that, to within a rounding.
    """
    row, column = np.reshape([float(value) for value in dataset.ImageOrientationPatient], (2, 3))
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=DIRECTION_TOLERANCE):
        raise ValueError(f"ImageOrientationPatient is {[*row, *column]}, expected two unit vectors at a right angle")
    normal = np.cross(row, column)
    row = row / np.linalg.norm(row)
    column = np.cross(normal, row)
    return np.array([row, column / np.linalg.norm(column)])


def _thickness(path, name, dataset):
    """Returns (mm, warnings) for a single slice, which has no neighbor to measure the slice distance from."""
    for field in THICKNESS:
        mm = dicom_files.number_in(dataset, field)
        if mm:
            return mm, [f"It is a single slice; its thickness of {mm:g} mm is that of its {field}."]
    raise InputError(f"{path}: {name} is a single slice and does not say how thick it is (no {' or '.join(THICKNESS)})")


def _check_pixels(path, named):
    """Checks that all pixels can be decoded: none are truncated, and a decoder for their compression is installed."""
    for name, dataset in named:
        _check_decoder(path, name, dataset)
        try:
            dataset.convert_pixel_data()  # pydicom caches the pixels
        except Exception as error:
            raise InputError(f"{path}: its slices cannot be put together (the pixels of {name} cannot be read: "
                             f"{one_line(error)}); is it truncated or damaged?"
                             + f" If not, {_remedy(dataset)}" * dataset.file_meta.TransferSyntaxUID.is_encapsulated
                             ) from error


def _check_decoder(path, name, dataset):
    """Checks that the pixels' compression is known and can be decoded here."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise InputError(f"{path}: {name} does not say how it is stored (no TransferSyntaxUID); is it damaged?")
    if syntax.is_encapsulated and not _can_decode(syntax):
        raise InputError(f"{path}: {name} is compressed as {one_line(syntax.name)}, which cannot be read here; "
                         f"{_remedy(dataset)}")


def _remedy(dataset):
    """Returns what to do about pixels that cannot be decoded."""
    if "High-Throughput" in dataset.file_meta.TransferSyntaxUID.name:
        return 'pip install "pylibjpeg>=2,<3" "pylibjpeg-openjpeg>=2,<3"'
    return 'pip install "python-gdcm>=3.0.24,<4", or convert the series with dcmdjpeg or gdcmconv --raw'


def _can_decode(syntax):
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _one_series(path, named):
    """Returns (the files of the one CT series among all, warnings).

    Raises:
        InputError: if there are several CT series.
    """
    by_uid: dict[str, list] = {}
    for name, dataset in named:
        by_uid.setdefault(str(dataset.get("SeriesInstanceUID") or ""), []).append((name, dataset))
    series, warnings = dicom_files.join_singles(list(by_uid.values())), []
    if len(series) < len(by_uid):
        warnings = ["Every file has its own SeriesInstanceUID (an anonymizer's?); they were taken as one series."]
    listed = [dicom_files.describe([dataset for _, dataset in members]) for members in series]
    scans = [number for number, members in enumerate(series)
             if any(dicom_files.may_be_scan(dataset) for _, dataset in members)]
    if len(series) == 1:
        return named, warnings
    if len(scans) != 1:
        raise InputError(f"{path}: holds {len(series)} series ({few(sorted(listed))}); give a folder with one of them"
                         + ", or unpack it and give that folder" * path.is_file())
    others = few(sorted(text for number, text in enumerate(listed) if number not in scans))
    return series[scans[0]], [*warnings, f"Other series beside it, localizers or no CT, were left out: {others}."]


def _check_series(path, named):
    """Checks that the files are slices of CT with the fields that a volume needs, and that these are consistent."""
    for name, dataset in named:
        kind = dicom_files.class_of(dataset)
        if kind != dicom_files.CT:
            raise InputError(f"{path}: {name} {f'is a {one_line(kind.name)}' if kind else 'has no SOPClassUID'}, "
                             f"expected CT Image Storage, a file per slice")
        if dicom_files.is_localizer(dataset):
            raise InputError(f"{path}: {name} is a localizer; expected axial slices only")
        for field in ("RescaleSlope", "RescaleIntercept"):  # an anonymizer may leave the field empty
            number = dicom_files.number_in(dataset, field)
            if number is None or (field == "RescaleSlope" and not number):
                raise InputError(f"{path}: {name} does not say how its values become Hounsfield units (no {field})")
        for field in (*SAME, "ImagePositionPatient"):
            if dataset.get(field) in (None, ""):
                raise InputError(f"{path}: {name} has no {field}, which every slice of a series has")
    first_name, first = named[0]
    for field in SAME:
        for name, dataset in named:
            value, expected = dataset.get(field), first.get(field)
            same = (np.allclose(value, expected, atol=1e-4) if isinstance(expected, pydicom.multival.MultiValue)
                    and isinstance(value, pydicom.multival.MultiValue) else value == expected)
            if not same:
                raise InputError(f"{path}: {name} has {field} {one_line(value)} and {first_name} "
                                 f"{one_line(expected)}; slices of one series have the same")


def _check_frame(path, named):
    """Returns warnings about the frame of reference.

    Raises:
        InputError: if it differs between slices, and not just because each has its own, as anonymizers do.
    """
    frames = {}
    for name, dataset in named:
        frames.setdefault(str(dataset.get("FrameOfReferenceUID") or ""), name)
    frames.pop("", None)
    if len(frames) < 2:
        return []
    if len(frames) == len(named):
        return ["Every slice has its own FrameOfReferenceUID (an anonymizer's?); they were taken as one stack."]
    (one, name), (other, other_name) = list(frames.items())[:2]
    raise InputError(f"{path}: {other_name} has FrameOfReferenceUID {one_line(other)} and {name} {one_line(one)}; "
                     f"slices of one series have the same")


def _stack(path, named):
    """Sorts slices along their normal and checks that they are evenly spaced, to within what rounding explains.

    Returns:
        (named, mm, origin): the slices in order, their distance (None for one slice), and the first slice's position.
    """
    row, column = orientation_of(named[0][1])
    normal = np.cross(row, column)
    positions = np.array([[float(value) for value in dataset.ImagePositionPatient] for _, dataset in named])
    order = np.argsort(positions @ normal)
    named, positions = [named[index] for index in order], positions[order]
    along = positions @ normal
    if len(along) < 2:
        return named, None, positions[0]
    steps = np.diff(along)
    doubled = np.flatnonzero(steps < SAME_PLACE_MM)
    if doubled.size:
        one, two = named[doubled[0]][0], named[doubled[0] + 1][0]
        raise InputError(f"{path}: has two slices at {along[doubled[0]]:.1f} mm ({one} and {two}); is this more than "
                         f"one phase, or are files duplicated?")
    usual, count = float(np.median(steps)), len(along)
    rounding = _rounding_mm(positions)
    rounding_mm = float(rounding @ np.abs(normal))
    # A missing slice moves the others by at least this fraction of the whole length from their places in an even stack.
    missing_mm = (along[-1] - along[0]) * (count - 2) / (count * (count - 1))
    if not _is_even(along, max(SPACING_TOLERANCE * usual, min(rounding_mm, ROUNDED_TOLERANCE * missing_mm))):
        at = int(np.argmax(np.abs(steps - usual)))
        raise InputError(f"{path}: slices are {usual:.2f} mm apart, but {steps[at]:.2f} mm between {along[at]:.1f} and "
                         f"{along[at + 1]:.1f} mm; are some missing?")
    stacking = positions[-1] - positions[0]
    tilt = np.degrees(np.arccos(np.clip(stacking @ normal / np.linalg.norm(stacking), -1, 1)))
    pixel_mm = min(abs(float(mm)) for mm in named[0][1].PixelSpacing)
    beside_mm = 2 * min(float(np.linalg.norm(rounding)), pixel_mm / 2)
    if np.linalg.norm(stacking - stacking @ normal * normal) > beside_mm + (
            np.tan(np.radians(MOST_TILT_DEGREES)) * np.linalg.norm(stacking)):
        raise InputError(f"{path}: its gantry was tilted by {tilt:.1f} degrees; resample the series to a straight "
                         f"stack first")
    fitted = np.polynomial.polynomial.polyfit(along, positions, 1)
    off_mm = np.linalg.norm(positions - np.outer(along, fitted[1]) - fitted[0], axis=1)
    worst = int(np.argmax(off_mm))
    if off_mm[worst] > BESIDE_TOLERANCE * pixel_mm + beside_mm + SAME_PLACE_MM:
        raise InputError(f"{path}: {named[worst][0]} lies {off_mm[worst]:.1f} mm beside the line through the other "
                         f"slices; do all belong to one series?")
    return named, float(along[-1] - along[0]) / (count - 1), positions[0]


def _rounding_mm(positions):
    """Returns how far rounding moves a position at most along (x, y, z), in mm, by the decimals that positions have."""
    decimals = [next((count for count in range(MOST_DECIMALS) if np.allclose(axis, np.round(axis, count), rtol=0,
                                                                             atol=10.0**-(MOST_DECIMALS + 1))),
                     MOST_DECIMALS) for axis in positions.T]
    return 0.5 * 10.0**-np.array(decimals)


def _is_even(along, tolerance):
    """Returns whether there is an even grid from which no position is farther than `tolerance`.

    There is one if its step can be chosen so that no two positions are farther apart, or closer, than their places on
    the grid by more than twice the tolerance.
    """
    low, high = 0.0, np.inf
    for lag in range(1, len(along)):
        apart = along[lag:] - along[:-lag]
        low, high = max(low, (apart.max() - 2 * tolerance) / lag), min(high, (apart.min() + 2 * tolerance) / lag)
    return low <= high + 1e-9
