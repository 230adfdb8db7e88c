"""Finds the cases in a folder and names them.

A study has the layout of KiTS: <case>/imaging.nii.gz, and <case>/segmentation.nii.gz if there is ground truth. A scan
to predict may also be a DICOM series, as a folder or a zip of its files.
"""

import dataclasses
import errno
import os
import pathlib
import re
import sys
import unicodedata

from kits_tf.errors import InputError

ENDINGS = (".nii.gz", ".nii")
HEADERS = (".hdr.gz", ".hdr")  # of scans stored in two files, header and voxels
IMAGING = "imaging"
SEGMENTATION = "segmentation"
ZIP = ".zip"
PREFIX = "prediction_"  # of the files that predict.py writes, as KiTS19 requires
DICOM_MARK = slice(128, 132)  # these bytes of a DICOM file are DICM
LONGEST_NAME = 200  # bytes; file systems allow 255, and a prefix and an ending are added


@dataclasses.dataclass(frozen=True)
class Case:
    """One scan and its ground truth.

    Attributes:
        name: the case's name.
        imaging: file of the scan, or folder or zip of a DICOM series.
        segmentation: file of the ground truth, or None.
        doubles: files with the name of `imaging` or `segmentation` but the other ending (.nii and .nii.gz).
    """

    name: str
    imaging: pathlib.Path
    segmentation: pathlib.Path | None = None
    doubles: tuple[pathlib.Path, ...] = ()

    def check_single(self) -> None:
        """Raises InputError if the case has doubles, because it is unclear which file is meant."""
        for double in self.doubles:
            name = stem(double)
            raise InputError(f"{double.parent}: contains both {name}{ENDINGS[0]} and {name}{ENDINGS[1]}; remove one")

    @property
    def short_name(self) -> str:
        """The number 00210 of case_00210, as in KiTS submissions; any other name unchanged."""
        return short_name(self.name)


def stem(path: str | pathlib.Path) -> str:
    """Returns a file's name without its NIfTI ending, or without its last ending if it is no NIfTI file.

    Of a folder only a NIfTI ending is removed, because series are often named by a UID, such as 1.2.840.1.
    """
    name = pathlib.Path(path).name
    for ending in (*ENDINGS, *HEADERS):
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
    strange = not (name.isascii() and name.isprintable()) and any(
        unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name)
    if strange or name in ("", ".", "..") or "/" in name or "\\" in name or len(os.fsencode(name)) > LONGEST_NAME:
        shown = ascii(name) if len(name) <= 60 else ascii(name[:60]) + "..."
        raise InputError(f"{where}: has a case named {shown}; expected a plain file name of at most {LONGEST_NAME} "
                         f"bytes without /, \\ or control characters; rename it")


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


def find_study(folder: str | pathlib.Path) -> list[Case]:
    """Finds the cases of a study: every subfolder with imaging or a segmentation, sorted by name.

    Incomplete cases are listed too, with the path where imaging is expected: a case without imaging, a folder that is a
    broken link, a folder without read permission. Reading them raises the error. A case that has a file with both
    endings is also listed (see Case.check_single).

    Raises:
        InputError: if the folder is missing or cannot be read, or check_name refuses a case's name.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a study of case_xxxxx/{IMAGING}.nii.gz")
    cases = []
    for child in _children(folder):
        (imaging, doubles), (segmentation, more) = _either(child, IMAGING), _either(child, SEGMENTATION)
        if imaging or segmentation or not os.path.exists(child):
            check_name(child.name, folder)
            cases.append(Case(child.name, imaging or child / f"{IMAGING}{ENDINGS[0]}", segmentation,
                              (*doubles, *more)))
    return cases


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
    return os.path.isdir(link) or not (os.path.exists(link) or link.lower().endswith(ENDINGS))


def find_scans(path: str | pathlib.Path) -> list[Case]:
    """Finds the scans at a path: a file, a study, one of its cases, a DICOM series, or a folder of files and series.

    Loose files beside a study's cases are left out, and so are DICOM slices or predictions beside scans; a warning on
    stderr says so. Predictions are returned only if a folder has nothing else.

    Returns:
        The scans as Cases without ground truth (with it for a study), sorted by name.

    Raises:
        InputError: if there are none, if two would have the same name, or if check_name refuses a name.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        own, doubles = _either(path, IMAGING)
        cases = [_from_file(own, doubles)] if own else _in_folder(path)
        if not cases:
            raise InputError(f"{path}: contains no scan; expected .nii, .nii.gz or .hdr files, "
                             f"case_xxxxx/{IMAGING}.nii.gz, or DICOM series as folders or zips")
    elif os.path.lexists(path):
        cases = [_from_file(path)]
    else:
        raise InputError(f"{path}: no such file or folder")
    seen: dict[str, Case] = {}
    for case in cases:
        check_name(case.name, path)
        if case.short_name in seen:
            raise InputError(f"{path}: {seen[case.short_name].imaging} and {case.imaging} would both be written as "
                             f"prediction_{case.short_name}; rename one")
        seen[case.short_name] = case
    return cases


def _in_folder(path):
    """Returns the cases of a study, else the folder as a series, else all files and series in the folder."""
    cases = find_study(path)
    known = {case.imaging.parent.name for case in cases}
    children = [child for child in sorted(path.iterdir()) if child.name[0] != "." and child.name not in known]
    endings = (*ENDINGS, *HEADERS)
    files = [child for child in children if child.name.lower().endswith(endings)]
    series = [child for child in children if not child.name.lower().endswith(endings) and _may_be_series(child)]
    predicted = [child for child in files if child.name.startswith(PREFIX)]
    scans = [child for child in files if not child.name.startswith(PREFIX)] + series
    if cases:
        _leave_out(path, "is taken as a study", [child for child in (*files, *series) if not child.is_dir()])
        return cases
    if is_series(path):
        if not scans:
            _leave_out(path, "is taken as a DICOM series", predicted)
            return [Case(path.resolve().name, path)]
        print(f"warning: {path}: is taken as a folder of scans, the DICOM slices in it are left out; give them a "
              f"folder of their own", file=sys.stderr)
    if scans:
        _leave_out(path, "is taken as a folder of scans", predicted)
    return [_from_file(child) for child in sorted(scans or predicted)]


def _may_be_series(path):
    try:
        return is_series(path)
    except OSError as error:
        print(f"warning: {path}: cannot be read ({error.strerror}), left out", file=sys.stderr)
        return False


def _leave_out(path, why, files):
    if files:
        print(f"warning: {path}: {why}, {_few(files)} left out; give loose files a folder of their own",
              file=sys.stderr)


def _from_file(path, doubles=()):
    name = stem(path)
    if name == IMAGING:  # one case of a study, named after its folder
        name = path.parent.resolve().name or name
    return Case(name, path, doubles=tuple(doubles))


def _few(files):
    return f"{files[0].name} is" if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more are"


def is_series(path: str | pathlib.Path) -> bool:
    """Returns whether a path may be a DICOM series: a zip, or a folder that contains a DICOM file."""
    path = pathlib.Path(path)
    if path.is_dir():
        return any(child.is_file() and is_dicom(child) for child in sorted(path.iterdir()))
    return path.name.lower().endswith(ZIP)


def is_dicom(path: str | pathlib.Path) -> bool:
    """Returns whether a file has DICOM's mark; False if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read(DICOM_MARK.stop)[DICOM_MARK] == b"DICM"
    except OSError:
        return False
