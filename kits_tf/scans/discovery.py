"""Finds the cases in a folder and names them.

A study has the layout of KiTS: <case>/imaging.nii.gz, and <case>/segmentation.nii.gz if there is ground truth. A scan
may also be a DICOM series: a zip of its files, or all files of one series in a tree of folders, as a PACS or a CD
exports it. layouts.py knows the other layouts.
"""

import dataclasses
import errno
import hashlib
import itertools
import os
import pathlib
import re
import unicodedata
from collections.abc import Collection, Iterator

from kits_tf import lazy
from kits_tf.errors import UNPRINTABLE, InputError, few
from kits_tf.quiet import warn
from kits_tf.scans.label_map import KITS19, LabelMap

ENDINGS = (".nii.gz", ".nii")
HEADERS = (".hdr.gz", ".hdr")  # of scans stored in two files, header and voxels
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")  # NRRD and MetaImage; .nhdr and .mhd are headers of voxels in other files
SCANS = (*ENDINGS, *HEADERS, *ITK)
IMAGING = "imaging"
SEGMENTATION = "segmentation"
ZIP = ".zip"
PREFIX = "prediction_"  # of the files that predict.py writes, as KiTS19 requires
DICOM_MARK = slice(128, 132)  # these bytes of a DICOM file with a preamble are DICM
MOST_FIRST_BYTES = 256  # of the first element of a DICOM file without preamble
LONGEST_NAME = 200  # bytes; file systems allow 255, and a prefix and an ending are added


@dataclasses.dataclass(frozen=True)
class Case:
    """One scan and its ground truth.

    Attributes:
        name: the case's name.
        imaging: file of the scan, or folder or zip of a DICOM series.
        segmentation: file of the ground truth, or None.
        doubles: files with the name of `imaging` or `segmentation` but the other ending (.nii and .nii.gz).
        files: the files of a DICOM series in the folder `imaging` or below it; empty for any other scan.
        strange: why the case cannot be used, such as its file's name, in one line; empty if it can.
        labels: the meaning of the values in `segmentation`.
    """

    name: str
    imaging: pathlib.Path
    segmentation: pathlib.Path | None = None
    doubles: tuple[pathlib.Path, ...] = ()
    files: tuple[pathlib.Path, ...] = ()
    strange: str = ""
    labels: LabelMap = KITS19

    def check_single(self) -> None:
        """Raises InputError if the case has doubles, so that it is unclear which file is meant, or a strange name."""
        if self.strange:
            raise InputError(self.strange)
        for double in self.doubles:
            name = stem(double)
            raise InputError(f"{double.parent}: contains both {name}{ENDINGS[0]} and {name}{ENDINGS[1]}; remove one")

    @property
    def is_series(self) -> bool:
        """Whether the scan is a DICOM series."""
        return bool(self.files) or self.imaging.name.lower().endswith(ZIP)

    @property
    def short_name(self) -> str:
        """The number 00210 of case_00210, as in KiTS submissions; any other name unchanged."""
        return short_name(self.name)


def stem(path: str | pathlib.Path) -> str:
    """Returns a file's name without the ending of its format, or without its last ending if that is unknown.

    Of a folder only the ending of a format is removed, because series are often named by a UID, such as 1.2.840.1.
    """
    name = pathlib.Path(path).name
    for ending in SCANS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name if os.path.isdir(path) else pathlib.Path(path).stem


def short_name(name: str) -> str:
    """Returns 00210 for case_00210, and any other name unchanged."""
    numbered = re.fullmatch(r"case_(\d+)", name)
    return numbered[1] if numbered else name


def check_name(name: str, where: str | pathlib.Path) -> None:
    """Checks that a case name is a plain file name, which neither leads out of its folder nor breaks a line.

    Args:
        name: the case's name; spaces and letters of any script are allowed.
        where: the file or folder that contains the name, for the message.

    Raises:
        InputError: if it is empty, too long, "." or "..", or has a path separator, a control character or invalid
            Unicode.
    """
    if any(map(_is_strange, name)) or name in ("", ".", "..") or len(os.fsencode(name)) > LONGEST_NAME:
        raise InputError(_bad_name(name, where))


def _bad_name(name, where):
    shown = ascii(name) if len(name) <= 60 else ascii(name[:60]) + "..."
    return (f"{where}: has a case named {shown}; expected a plain file name of at most {LONGEST_NAME} bytes without /, "
            f"\\ or control characters; rename it")


def _is_strange(letter):
    return letter in "/\\" or (not (letter.isascii() and letter.isprintable())
                               and unicodedata.category(letter) in UNPRINTABLE)


def with_plain_name(case: Case, where: str | pathlib.Path) -> Case:
    """Returns the case with a name that check_name accepts.

    A name that is too long is cut, and a warning says so. Letters that check_name refuses are replaced, and the case
    becomes strange: its path would break the line of a message, and may not be valid Unicode.
    """
    name = "".join("_" if _is_strange(letter) else letter for letter in case.name)
    name = "_" if name in ("", ".", "..") else name
    strange = _bad_name(case.name, where) if name != case.name else ""
    if len(os.fsencode(name)) > LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(case.name)).hexdigest()[:8]
        name = f"{os.fsencode(name)[:LONGEST_NAME - len(digest) - 1].decode(errors='ignore')}_{digest}"
        if not strange:
            warn(f"{where}: a name of more than {LONGEST_NAME} bytes was shortened; the case is {name}")
    return dataclasses.replace(case, name=name, strange=strange) if name != case.name else case


def _either(folder, name):
    """Returns (the file with that name and a NIfTI ending, or None; a list of the same name with the other ending).

    A broken link, or a file in a folder without read permission, is also returned: reading it raises the error.
    """
    found = []
    for ending in ENDINGS:
        path = f"{folder}/{name}{ending}"  # a string is faster than a Path, and a study may have 100000 cases
        try:
            os.lstat(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
                continue
            return pathlib.Path(path), []
        found.append(pathlib.Path(path))
    return (found[0] if found else None), found[1:]


def find_study(folder: str | pathlib.Path, segmentation: str = SEGMENTATION) -> list[Case]:
    """Finds the cases of a study: every subfolder with imaging or a segmentation, sorted by name.

    A case without imaging may have the slices of one DICOM series instead, in its folder or below it. Incomplete cases
    are listed too, with the path where imaging is expected: a case without imaging, a folder that is a broken link, a
    folder without read permission. Reading them raises the error. A case that has a file with both endings, several
    series or a strange name is also listed (see Case.check_single).

    Args:
        folder: the study.
        segmentation: name of the files with ground truth, without their ending.

    Raises:
        InputError: if the folder is missing or cannot be read.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a study of case_xxxxx/{IMAGING}.nii.gz")
    cases = []
    for child in _children(folder):
        (imaging, doubles), (truth, more) = _either(child, IMAGING), _either(child, segmentation)
        if imaging or truth or not os.path.exists(child):
            case = Case(child.name, imaging or child / f"{IMAGING}{ENDINGS[0]}", truth, (*doubles, *more))
            cases.append(with_plain_name(case if imaging else _with_series(case, child), folder))
    return cases


def _with_series(case, folder):
    """Returns a case without imaging with the DICOM series in its folder; unchanged if there is none."""
    series = series_below(folder) if os.path.isdir(folder) else []
    if len(series) > 1:
        shown = few([str(one.imaging.relative_to(folder)) for one in series])
        return dataclasses.replace(case, strange=f"{folder}: has no {IMAGING}{ENDINGS[0]} but {len(series)} DICOM "
                                                 f"series ({shown}); leave the one that the labels belong to")
    return dataclasses.replace(case, imaging=series[0].imaging, files=series[0].files) if series else case


def _children(folder):
    """Returns the subfolders of a folder and its broken links, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries
                     if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and _may_be_folder(entry.path))]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error
    return [folder / name for name in sorted(names)]


def _may_be_folder(link):
    return os.path.isdir(link) or not (os.path.exists(link) or link.lower().endswith(SCANS))


def find_scans(path: str | pathlib.Path, study: list[Case] | None = None) -> list[Case]:
    """Finds the scans at a path: a file, a study, one of its cases, or files and DICOM series in a folder.

    DICOM series are looked for in all folders below, files (also zips of series) in the folder itself. Warnings on
    stderr say what is left out: what lies beside a study's cases, files in deeper folders, series that are no CT or
    localizers, DICOM slices beside NIfTI files, predictions beside scans. Predictions are returned only if a folder has
    nothing else.

    Args:
        path: the file or folder.
        study: the cases of the folder, if it is known to be a study; None to look for them.

    Returns:
        The scans as Cases without ground truth (with it for a study), sorted by name. A DICOM series is named after its
        folder, from `path` on, joined by "_", with its number if there are several in that folder.

    Raises:
        InputError: if there are none, or two would have the same name.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        own, doubles = _either(path, IMAGING)
        cases = [_from_file(own, doubles)] if own else _in_folder(path, find_study(path) if study is None else study)
    elif os.path.lexists(path):
        cases = [_multi_frame(path) if looks_like_dicom(path) else _from_file(path)]
    else:
        raise InputError(f"{path}: no such file or folder")
    cases = [with_plain_name(case, path) for case in cases]
    seen: dict[str, Case] = {}
    for case in cases:
        if case.short_name in seen:
            raise InputError(f"{path}: {seen[case.short_name].imaging} and {case.imaging} would both be written as "
                             f"prediction_{case.short_name}; rename one")
        seen[case.short_name] = case
    return cases


def _multi_frame(path):
    """Returns the case of a DICOM file that holds all slices of a scan."""
    if not lazy.load("kits_tf.scans.dicom_files").is_multi_frame(path):
        raise InputError(f"{path}: is a single DICOM file; expected a series: give its folder")
    return Case(stem(path), path.parent, files=(path,))


def _in_folder(path, cases):
    """Returns the cases of a study, else all files and zips of scans in a folder and all DICOM series in its tree."""
    tree = list(_tree(path, {case.imaging.relative_to(path).parts[0] for case in cases}))
    loose = [child for _, files in tree for child in files if child.name.lower().endswith((*SCANS, ZIP))]
    files = [child for child in loose if child.parent == path]
    scans = [child for child in files if not child.name.startswith(PREFIX)]
    predicted = [child for child in files if child.name.startswith(PREFIX)]
    deeper = [child for child in loose if child.parent != path and not child.name.startswith(PREFIX)]
    series, others = _series(path, tree)
    if cases:
        _leave_out(path, "is taken as a study", [*files, *deeper, *(case.imaging for case in series)])
        return cases
    direct = [case for case in series if case.imaging == path]
    if direct and any(not child.name.lower().endswith(ZIP) for child in scans):
        series = [case for case in series if case not in direct]
        warn(f"{path}: is taken as a folder of scans, the DICOM slices in it are left out; give them a folder of their "
             f"own")
    found = [*map(_from_file, scans), *series] or [*map(_from_file, predicted)]
    if not found:
        deeper = [f"it holds {few(_shown(path, deeper))}, give that folder"] if deeper else []
        raise InputError("; ".join([f"{path}: contains no scan", *others, *deeper, "expected .nii, .nii.gz, .hdr, "
                                    f".nrrd, .nhdr, .mha or .mhd files, case_xxxxx/{IMAGING}.nii.gz, or DICOM "
                                    f"series as folders or zips"]))
    for text in others:
        warn(f"{path}: {text}, left out")
    if scans or series:
        _leave_out(path, f"is taken as a {'folder of scans' if scans or series != direct else 'DICOM series'}",
                   [*predicted, *deeper])
    return sorted(found, key=lambda case: case.imaging)


def _tree(folder: pathlib.Path, known: Collection[str] = (), above: frozenset = frozenset()) -> Iterator[tuple]:
    """Yields (folder, files) of a folder and all folders below it, sorted; hidden ones and `known` are left out.

    Folders named as files of scans count as files, for the reader to refuse. A folder that cannot be read is left out
    with a warning, and a link to a folder above it without.
    """
    try:
        children = [child for child in sorted(folder.iterdir()) if child.name[0] != "." and child.name not in known]
    except OSError as error:
        warn(f"{folder}: cannot be read ({error.strerror}), left out")
        return
    is_folder = [not child.name.lower().endswith((*ENDINGS, *ITK)) and child.is_dir() for child in children]
    yield folder, [child for child, is_one in zip(children, is_folder, strict=True) if not is_one]
    above |= {os.path.realpath(folder)}
    for child in itertools.compress(children, is_folder):
        if os.path.realpath(child) not in above:
            yield from _tree(child, (), above)


def series_below(path: pathlib.Path) -> list[Case]:
    """Returns the DICOM series of CT in a folder and all folders below it, as cases."""
    return _series(path, list(_tree(path)))[0]


def _series(path, tree):
    """Returns (the CT series in a tree as cases; a list with one text about other DICOM files, if there are any)."""
    holding = []
    for folder, files in tree:
        files = [file for file in files if not file.name.lower().endswith((*SCANS, ZIP))]
        if any(map(looks_like_dicom, files)):
            holding.append((folder, [file for file in files if file.is_file()]))
    if not holding:
        return [], []
    found = lazy.load("kits_tf.scans.dicom_files").find_series(holding, path)
    if not found:
        return [], ["its DICOM files are no images (a DICOMDIR, reports, segmentations)"]
    scans, cases = [one for one in found if one.is_scan], []
    for one in scans:
        name = "_".join(one.folder.relative_to(path).parts) or path.resolve().name
        beside = [other for other in scans if other.folder == one.folder]
        if len(beside) > 1:
            numbers = {other.number for other in beside}
            name += f"_{one.number if len(numbers) == len(beside) and '' not in numbers else one.uid}"
        cases.append(Case(name, one.folder, files=one.files))
    others = [one.text for one in found if not one.is_scan]
    return cases, [f"{len(others)} series are localizers or no CT ({few(others)})"] * bool(others)


def _leave_out(path, why, files):
    if files:
        shown = _shown(path, files)
        warn(f"{path}: {why}, {shown[0]} {f'and {len(shown) - 1} more are' if shown[1:] else 'is'} left out; "
             f"give loose files a folder of their own")


def _shown(path, files):
    """Formats paths below `path` for a message; of a folder's own DICOM slices, that they are."""
    return ["".join(letter if letter.isprintable() else "?" for letter in str(file.relative_to(path)))
            if file != path else "its DICOM slices" for file in files]


def _from_file(path, doubles=()):
    name = stem(path)
    if name == IMAGING:  # one case of a study, named after its folder
        name = path.parent.resolve().name or name
    return Case(name, path, doubles=tuple(doubles))


def begins_like_dicom(head: bytes) -> bool:
    """Returns whether a file's first bytes may be DICOM: the mark after the preamble, or an element of a first group.

    Old writers and some CDs leave the preamble out. The file then begins with an element of group 2 or 8, whose
    length is that of a short text.
    """
    if head[DICOM_MARK] == b"DICM":
        return True
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    length = int.from_bytes(head[6:8] if explicit else head[4:8], "little")
    least = 0 if explicit else 1
    return head[:2] in (b"\2\0", b"\10\0") and head[3:4] == b"\0" and least <= length <= MOST_FIRST_BYTES


def looks_like_dicom(path: str | pathlib.Path) -> bool:
    """Returns whether a file begins like DICOM; False if it cannot be read, or is no regular file."""
    if not os.path.isfile(path):  # reading from a pipe would block
        return False
    try:
        with open(path, "rb") as stream:
            return begins_like_dicom(stream.read(DICOM_MARK.stop))
    except OSError:
        return False
