"""Tells which files are CT slices and which series they belong to, by their headers alone.

In go the files of the folders of an export from a PACS or a CD; out come its series. A series may share its folder
with others, or be spread over several folders.

No slice is left out silently. Only files that are clearly no slices are: objects whose SOP class has no image
(DICOMDIR, reports, segmentations, presentation states, ...), hidden files, text files, and files of other formats. An
empty, cut or unknown file may have been a slice: it goes with every series of its folder, and reading them raises an
error that names it.
"""

import dataclasses
import io
import math
import os
import pathlib
import re
import warnings
import zlib
from collections.abc import Iterable, Sequence

import pydicom
from pydicom.filereader import read_dataset, read_preamble

from kits_tf.errors import InputError, one_line
from kits_tf.scans.discovery import DICOM_MARK, ENDINGS, begins_like_dicom, looks_like_dicom

# pydicom also warns of the errors it finds in a file; our InputError reports them once, in one line.
warnings.filterwarnings("ignore", module="pydicom")

HEAD_BYTES = 4096  # at the start of a file, enough to see whether it may be DICOM
MOST_DEFLATED_BYTES = 2**26  # of one file of the deflated transfer syntax, unpacked
LEAST_SINGLES = 3  # as many files with a SeriesInstanceUID of their own, but the same fields of SINGLE, are one series
SINGLE = ("PatientID", "SeriesNumber", "Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")
CT = pydicom.uid.CTImageStorage
MULTI_FRAME = (pydicom.uid.EnhancedCTImageStorage, pydicom.uid.LegacyConvertedEnhancedCTImageStorage)
STANDARD = "1.2.840.10008."  # the SOP classes of the standard begin so; others are a manufacturer's own
# SOP classes of objects that are no images, by their DICOM names. Some have pixels nevertheless: masks, doses.
NO_IMAGE = re.compile(r"Directory|Segmentation|Presentation State|\bSR\b|Key Object|Encapsulated|RT (?!Image)|Waveform"
                      r"|Registration|ECG|Fiducials|Raw Data|Real World Value|Tractography|Protocol|Procedure")
# First bytes of other formats: PNG, JPEG, GIF, TIFF, PDF, zip, gzip, 7z, rar, Microsoft's (Thumbs.db), SQLite; of the
# programs and help files of viewers on CDs; and of UTF-16 text.
OTHER_FORMATS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"%PDF", b"PK\3\4", b"\x1f\x8b",
                 b"7z\xbc\xaf", b"Rar!", b"\xd0\xcf\x11\xe0", b"SQLite format", b"MZ", b"\x7fELF", b"ITSF",
                 b"\xff\xfe", b"\xfe\xff")
SAME = ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "SeriesNumber", "Rows", "Columns", "PixelSpacing",
        "ImageOrientationPatient")  # in all parts of a series that is spread over folders
HEADER = (*SAME, "ImagePositionPatient", "SOPClassUID", "Modality", "SeriesDescription", "ImageType")
# Fields that a volume can do without: an odd value, such as a word for a number, counts as missing.
OPTIONAL = ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "SeriesNumber", "SeriesDescription", "Modality",
            "ImageType", "FrameOfReferenceUID", "SliceThickness", "SpacingBetweenSlices")


@dataclasses.dataclass(frozen=True)
class Series:
    """The files of one series.

    Attributes:
        folder: the folder that holds all files, or their folders.
        files: its slices, and files of the same folders that may be damaged slices.
        number, uid: its SeriesNumber and SeriesInstanceUID; empty if missing.
        text: for a message, such as "CT 2 'Abdomen' with 300 files in PA0/ST0/SE2".
        is_scan: whether it is CT, or unknown, and not a localizer.
    """

    folder: pathlib.Path
    files: tuple[pathlib.Path, ...]
    number: str
    uid: str
    text: str
    is_scan: bool


def is_dicom(path: str | pathlib.Path, name: str, head: bytes) -> bool:
    """Returns whether a file's first bytes are DICOM, with the preamble or without.

    Raises:
        InputError: for a file that may be a damaged slice. It names `path`, the folder or zip, and `name`, the file.
    """
    if head[DICOM_MARK] == b"DICM":
        return True
    base = name.rsplit("/", 1)[-1]
    if base.startswith(".") or base.lower().endswith(ENDINGS):
        return False
    if begins_like_dicom(head):
        return True
    if not head:
        raise InputError(f"{path}: {one_line(name)} is empty; copy it again, or remove it if it is no slice")
    if head.startswith(OTHER_FORMATS) or _is_text(head):
        return False
    raise InputError(f"{path}: {one_line(name)} does not say that it is DICOM (DICM from byte {DICOM_MARK.start}); it "
                     f"is truncated, damaged or not a slice: copy it again, or remove it")


def _is_text(head):
    """Returns whether bytes are text: UTF-8, or an older encoding with few non-ASCII letters (1 in 8)."""
    text = head.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    return broken < 1 + len(text) / 8 and all(letter.isprintable() or letter.isspace() for letter in text)


def check_deflated(path: str | pathlib.Path, name: str, data: bytes) -> None:
    """Raises InputError if a deflated file unpacks to more than a slice has, before pydicom unpacks it."""
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


def drop_odd(dataset: pydicom.Dataset) -> None:
    """Removes the fields of OPTIONAL whose value cannot be decoded."""
    for field in OPTIONAL:
        try:
            dataset.get(field)
        except Exception:  # pydicom raises whatever the conversion raises
            del dataset[field]


def number_in(dataset: pydicom.Dataset, field: str) -> float | None:
    """Returns a field's number, or None if it is missing, empty or no finite number."""
    try:
        number = float(dataset.get(field))
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def class_of(dataset: pydicom.Dataset) -> pydicom.uid.UID | None:
    """Returns an object's SOP class: from its field, the file's meta header, or CT if its Modality says so."""
    given = dataset.get("SOPClassUID") or getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID")
    return given or (CT if dataset.get("Modality") == "CT" else None)


def is_no_image(dataset: pydicom.Dataset) -> bool:
    """Returns whether an object clearly is no image: by its SOP class, or a manufacturer's own without image size."""
    kind = class_of(dataset)
    return bool(kind and (NO_IMAGE.search(kind.name) or (not kind.startswith(STANDARD) and "Rows" not in dataset)))


def is_multi_frame(path: str | pathlib.Path) -> bool:
    """Returns whether a DICOM file holds all slices of a CT scan; False if it cannot be read."""
    try:
        header = _header(pathlib.Path(path).parent, pathlib.Path(path))
    except (InputError, OSError):
        return False
    return header is not None and class_of(header) in MULTI_FRAME


def is_localizer(dataset: pydicom.Dataset) -> bool:
    """Returns whether an image is a localizer (scout, topogram) by its ImageType."""
    return "LOCALIZER" in (dataset.get("ImageType") or ())


def join_singles(series: list[list[tuple]]) -> list[list[tuple]]:
    """Joins series of one file each that belong together: anonymizers may give every file its own SeriesInstanceUID.

    Args:
        series: per series, pairs of a file and its dataset.

    Returns:
        The same; LEAST_SINGLES or more series of one file are one if the fields of SINGLE are the same.
    """
    alike: dict[tuple, list[tuple]] = {}
    for members in series:
        if len(members) == 1 and class_of(members[0][1]) not in MULTI_FRAME:
            alike.setdefault(tuple(_text(members[0][1], field) for field in SINGLE), []).extend(members)
    joined = [members for members in alike.values() if len(members) >= LEAST_SINGLES]
    taken = {id(dataset) for members in joined for _, dataset in members}
    return [*(members for members in series if id(members[0][1]) not in taken), *joined]


def may_be_scan(dataset: pydicom.Dataset) -> bool:
    """Returns whether an image is CT, or unknown, and not a localizer."""
    return class_of(dataset) in (None, CT, *MULTI_FRAME) and not is_localizer(dataset)


def describe(datasets: Sequence[pydicom.Dataset]) -> str:
    """Describes a series for a message, such as CT 2 'Abdomen' with 300 files."""
    text = " ".join(_text(datasets[0], "SeriesDescription").split())
    first = one_line(f"{_text(datasets[0], 'Modality') or 'unknown'} {_text(datasets[0], 'SeriesNumber')} {text!r}")
    return f"{first} with {len(datasets)} file{'s' if len(datasets) > 1 else ''}"


def _text(dataset, field):
    value = dataset.get(field)
    return "" if value is None else str(value)


def find_series(folders: Iterable[tuple[pathlib.Path, list[pathlib.Path]]], root: pathlib.Path) -> list[Series]:
    """Finds the series in folders.

    Args:
        folders: pairs of a folder and its files.
        root: the folder that the paths in Series.text are relative to.

    Returns:
        List of Series, in the order of `folders`. Files in two folders are one series if their headers say so and no
        two slices have the same position; else they may be copies.
    """
    parts: list[tuple[pathlib.Path, list, list]] = []  # (folder, [(file, header)], files that may be damaged slices)
    for folder, files in folders:
        groups, suspects = _in_folder(folder, files)
        parts += [(folder, members, suspects) for members in groups]
    joined: list[list] = []
    places: dict[tuple, list[tuple[set, list]]] = {}
    for part in parts:
        key, own = _key(part[1][0][1]), {_text(header, "ImagePositionPatient") for _, header in part[1]}
        for taken, others in places.setdefault(key, []) if key[0] and "" not in own else []:
            if taken.isdisjoint(own):
                taken |= own
                others.append(part)
                break
        else:
            joined.append([part])
            places.setdefault(key, []).append((own, joined[-1]))
    return [_series(parts, root) for parts in joined]


def _in_folder(folder, files):
    """Returns (one list of (file, header) per series, files that may be damaged slices)."""
    groups: dict[str, list] = {}
    suspects, marked = [], []
    for file in files:
        try:
            header = _header(folder, file)
        except (InputError, OSError):
            suspects.append(file)
            if looks_like_dicom(file):
                marked.append(file)
            continue
        if header is not None:
            groups.setdefault(_text(header, "SeriesInstanceUID"), []).append((file, header))
    unknown = groups.pop("", [])
    if not groups:
        groups = {"": unknown or [(file, pydicom.Dataset()) for file in marked]}
        suspects = [file for file in suspects if unknown or file not in marked]
    else:
        suspects += [file for file, _ in unknown]
    return join_singles([members for members in groups.values() if members]), suspects


def _header(folder, file):
    """Returns the fields of HEADER, or None if the file is no image; raises InputError if it may be a damaged slice."""
    with open(file, "rb") as stream:
        head = stream.read(HEAD_BYTES)
        if not is_dicom(folder, file.name, head):
            return None
        stream.seek(0)
        try:
            if pydicom.uid.DeflatedExplicitVRLittleEndian.encode() in head:
                check_deflated(folder, file.name, stream.read())
                stream.seek(0)
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(HEADER),
                                      force=head[DICOM_MARK] != b"DICM")
            drop_odd(dataset)
            for field in HEADER:
                dataset.get(field)
            if is_no_image(dataset):
                return None
        except Exception as error:  # a damaged file raises struct.error, BytesLengthException and others
            raise InputError(f"{folder}: {one_line(file.name)} cannot be read as DICOM") from error
    if class_of(dataset) is None:
        raise InputError(f"{folder}: {one_line(file.name)} does not say what it is")
    return dataset


def _key(header):
    return tuple(_text(header, field) for field in SAME)


def _series(parts, root):
    members = [member for _, members, _ in parts for member in members]
    header = members[0][1]
    files = {file for file, _ in members} | {file for _, _, suspects in parts for file in suspects}
    folder = pathlib.Path(os.path.commonpath([folder for folder, _, _ in parts]))
    where = "" if folder == root else f" in {one_line(folder.relative_to(root))}"
    text = describe([header for _, header in members])
    return Series(folder, tuple(sorted(files)), _text(header, "SeriesNumber"), _text(header, "SeriesInstanceUID"),
                  text + where, any(may_be_scan(header) for _, header in members))
