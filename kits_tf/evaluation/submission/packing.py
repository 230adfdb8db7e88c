"""A zip of predictions for KiTS19's server, each held against its scan before anything is written.

In: a folder of prediction_<id>.nii.gz and the study they were made from. Out: the zip, one file per case at its top,
or one line that says what is wrong.
"""

import pathlib
import zipfile

import tqdm

from kits_tf.errors import InputError
from kits_tf.evaluation.submission import TEST_CASES
from kits_tf.files.atomic import whole_file
from kits_tf.quiet import no_bar
from kits_tf.scans.discovery import PREFIX, find_study
from kits_tf.scans.nifti import read_labels, read_stored_geometry

SAME_AFFINE_MM = 1e-3
DATE = (1980, 1, 1, 0, 0, 0)  # of every entry: the same predictions give the same zip


def pack(predictions: str | pathlib.Path, study: str | pathlib.Path, output: str | pathlib.Path,
         ids: range = TEST_CASES) -> int:
    """Checks predictions and zips them.

    Args:
        predictions: folder of prediction_00210.nii.gz and so on, as predict.py writes it; other files stay out.
        study: folder of case_00210/imaging.nii.gz and so on.
        output: the zip to write; whole or absent.
        ids: numbers of the cases wanted.

    Returns:
        How many files were packed.

    Raises:
        InputError: if a prediction is missing or is one of a case that is not wanted, a scan is missing, labels are not
            0, 1 and 2, or a prediction has another shape or place than its scan.
    """
    folder, output = pathlib.Path(predictions), pathlib.Path(output)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, --predictions expects one")
    if output.suffix.lower() != ".zip":
        raise InputError(f"{output}: --output expects the name of a .zip")
    wanted = [f"{PREFIX}{number:05d}.nii.gz" for number in ids]
    there = {path.name for ending in (".nii.gz", ".nii") for path in folder.glob(f"{PREFIX}*{ending}")}
    missing = [name for name in wanted if name not in there]
    strays = sorted(there.difference(wanted))
    if missing:
        raise InputError(f"{folder}: lacks {_few(missing)}; predict these cases first")
    if strays:
        raise InputError(f"{folder}: holds {_few(strays)} too, which is no case of this submission; move it away")
    scans = {case.name: case for case in find_study(study)}
    for number, name in tqdm.tqdm(zip(ids, wanted, strict=True), total=len(wanted), desc="checking", unit="case",
                                  disable=no_bar()):
        case = f"case_{number:05d}"
        if case not in scans:
            raise InputError(f"{study}: has no {case} to hold {name} against")
        scans[case].check_single()
        _check(folder / name, scans[case].imaging)
    with whole_file(output) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as packed:
        for name in wanted:
            packed.writestr(zipfile.ZipInfo(name, DATE), (folder / name).read_bytes())
    return len(wanted)


def _few(names):
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _check(path, scan):
    """Raises InputError unless a prediction holds labels and lies, axis by axis, as its scan does."""
    read_labels(path)
    shape, affine = read_stored_geometry(path)
    expected_shape, expected_affine = read_stored_geometry(scan)
    if shape != expected_shape:
        raise InputError(f"{path}: has shape {shape}, {scan} has {expected_shape}")
    if abs(affine - expected_affine).max() > SAME_AFFINE_MM:
        raise InputError(f"{path}: lies elsewhere than {scan} (their affines differ)")
