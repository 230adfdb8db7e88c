"""Packs predictions for KiTS19's server. Checks every prediction against its scan before it writes the zip.

Takes a folder of prediction_<id>.nii.gz and the study they were made from. Writes a zip with one file per case at its
top level, or raises an error that names the first problem.
"""

import pathlib
import zipfile

import tqdm

from kits_tf.errors import InputError, few
from kits_tf.evaluation.submission import TEST_CASES
from kits_tf.files.atomic import whole_file
from kits_tf.files.own import check_own, staged
from kits_tf.quiet import no_bar
from kits_tf.scans.discovery import PREFIX, find_study
from kits_tf.scans.nifti import read_labels, read_stored_geometry

SAME_AFFINE_MM = 1e-3
DATE = (1980, 1, 1, 0, 0, 0)  # a fixed date for every entry, so that the same predictions give the same zip


def pack(predictions: str | pathlib.Path, study: str | pathlib.Path, output: str | pathlib.Path,
         ids: range = TEST_CASES, overwrite: bool = False) -> int:
    """Checks predictions and zips them.

    Args:
        predictions: folder of prediction_00210.nii.gz and so on, as predict.py writes it; other files are ignored.
        study: folder of case_00210/imaging.nii.gz and so on.
        output: the zip to write; it appears complete or not at all.
        ids: numbers of the cases to pack.
        overwrite: whether to write over a file that this program did not write (kits_tf.files.own).

    Returns:
        The number of packed files.

    Raises:
        InputError: if a folder is missing, `output` is no .zip, a prediction or a scan is missing, there is a
            prediction of a case not in `ids`, `output` is a file of the user's, labels are not 0, 1 and 2, or a
            prediction's shape or affine differs from its scan's.
    """
    folder, output = pathlib.Path(predictions), pathlib.Path(output)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --predictions expects a folder of predictions")
    if output.suffix.lower() != ".zip":
        raise InputError(f"{output}: --output expects a file name that ends in .zip")
    check_own([output], overwrite)
    wanted = [f"{PREFIX}{number:05d}.nii.gz" for number in ids]
    there = {path.name for ending in (".nii.gz", ".nii") for path in folder.glob(f"{PREFIX}*{ending}")}
    missing = [name for name in wanted if name not in there]
    strays = sorted(there.difference(wanted))
    if missing:
        raise InputError(f"{folder}: has no {few(missing)}; predict these cases first")
    if strays:
        raise InputError(f"{folder}: also contains {few(strays)}, not part of this submission; move it away")
    scans = {case.name: case for case in find_study(study)}
    for number, name in tqdm.tqdm(zip(ids, wanted, strict=True), total=len(wanted), desc="checking", unit="case",
                                  disable=no_bar()):
        case = f"case_{number:05d}"
        if case not in scans:
            raise InputError(f"{study}: has no {case} to compare {name} with")
        scans[case].check_single()
        _check(folder / name, scans[case].imaging)
    with (staged(output.parent, overwrite) as staging, whole_file(staging / output.name) as temporary,
          zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as packed):
        for name in wanted:
            packed.writestr(zipfile.ZipInfo(name, DATE), (folder / name).read_bytes())
    return len(wanted)


def _check(path, scan):
    """Raises InputError unless a prediction holds labels and has its scan's stored shape and affine."""
    read_labels(path)
    shape, affine = read_stored_geometry(path)
    expected_shape, expected_affine = read_stored_geometry(scan)
    if shape != expected_shape:
        raise InputError(f"{path}: has shape {shape}, but {scan} has {expected_shape}; predict the case again")
    if abs(affine - expected_affine).max() > SAME_AFFINE_MM:
        raise InputError(f"{path}: has another affine than {scan}; predict the case again")
