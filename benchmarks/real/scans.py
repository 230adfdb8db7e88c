"""Scores one scan: kidneys against a reference, and false labels.

Kidney means kidney and tumor labels together. None of the scans has a kidney tumor, so all tumor labels are false.
Volumes are in ml; distances are in mm between voxel centers.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from benchmarks.real import protocol
from kits_tf.box import common_box
from kits_tf.errors import RunError
from kits_tf.evaluation.scores import dice
from kits_tf.evaluation.surface import TOLERANCES_MM, surface_dice
from kits_tf.labels import foreground, tumor
from kits_tf.scans.nifti import read_labels, read_volume
from kits_tf.volume import Volume, check_same_place

FACTS = ("name", "split", "phase", "field", "scanner", "slices", "spacing_mm", "reference")
SCORES = ("kidney_dice", "surface_dice", "reference_ml", "labelled_ml", "volume_error_ml", "false_kidney_ml",
          "false_tumor_ml")
COLUMNS = (*FACTS, *SCORES, "kidneys", "seconds", "note", "remarks")
NO_KIDNEYS, NO_REFERENCE = "no kidneys in view", "none"


def far_from(reference: np.ndarray, labelled: np.ndarray, spacing_mm: Sequence[float], more_than_mm: float):
    """Finds the labeled voxels that are farther than a distance from every voxel of a reference.

    Args:
        reference: bool (z, y, x); if it is empty, all labeled voxels are far.
        labelled: bool, same shape.
        spacing_mm: voxel size along z, y, x, in mm.
        more_than_mm: the distance in mm.

    Returns:
        bool, same shape.
    """
    far = labelled.copy()
    box = common_box(labelled)
    if box is None or not reference.any():
        return far
    # Reference voxels farther away than this from the labeled box cannot matter.
    reach = [int(np.ceil(more_than_mm / mm)) + 1 for mm in spacing_mm]
    box = tuple(slice(max(0, block.start - more), block.stop + more) for block, more in zip(box, reach, strict=True))
    if reference[box].any():
        far[box] &= ndimage.distance_transform_edt(~reference[box], sampling=spacing_mm) > more_than_mm
    return far


def score(labels: Volume, reference: np.ndarray | None) -> dict:
    """Computes the SCORES of a scan, each a float or None.

    Args:
        labels: Volume of class ids.
        reference: bool (z, y, x), the kidneys; empty if no kidney is in view; None if unknown.

    Returns:
        dict. Without a reference, only `labelled_ml` and `false_tumor_ml` are known. Without kidneys, the Dice scores
        are None and all labeled voxels are false kidney.
    """
    labelled = foreground(labels.voxels)

    def ml(mask):
        return float(np.count_nonzero(mask) * labels.voxel_ml)

    row = dict.fromkeys(SCORES) | {"labelled_ml": ml(labelled), "false_tumor_ml": ml(tumor(labels.voxels))}
    if reference is None:
        return row
    row |= {"reference_ml": ml(reference), "volume_error_ml": ml(labelled) - ml(reference),
            "false_kidney_ml": ml(far_from(reference, labelled, labels.spacing_mm, protocol.FAR_MM))}
    if reference.any():
        row["kidney_dice"] = dice(reference, labelled)
        row["surface_dice"], = surface_dice(reference, labelled, labels.spacing_mm, [TOLERANCES_MM["kidney_and_mass"]])
    return row


def read_reference(scan: protocol.Scan, ct: Volume) -> np.ndarray | None:
    """Reads the reference kidneys of a scan, as `score` takes them.

    Raises:
        InputError: if the file cannot be read as labels or its geometry differs from the scan's.
    """
    if scan.kidney is None:
        return np.zeros(ct.voxels.shape, bool) if scan.without_kidneys else None
    labels = read_labels(scan.kidney)
    check_same_place(scan.kidney, labels, ct, "scan")
    return foreground(labels.voxels)


def score_scan(scan: protocol.Scan, explain: Callable[[Volume], tuple[Volume, dict]],
               keep: Callable[[Volume, Volume, np.ndarray | None, dict, dict], None]) -> dict:
    """Reads, segments and scores one scan.

    Args:
        scan: protocol.Scan.
        explain: a function like Predictor.explain.
        keep: called with (ct, labels, reference, report, row), for example to write files.

    Returns:
        A row of COLUMNS; `note` has the error, if any. If the scan or the reference cannot be read, there are no
        scores. If the model fails on a scan with reference kidneys, both Dice scores are 0.

    Raises:
        RunError: if every later scan would fail too, for example on a full disk.
    """
    row = dict.fromkeys(COLUMNS) | {
        "name": scan.name, "split": scan.split, "phase": scan.phase, "field": scan.facts.get("field"),
        "scanner": scan.scanner, "reference": scan.facts.get("reference"), "remarks": scan.facts.get("remarks")}
    reference = None
    try:
        ct = read_volume(scan.imaging)
        row |= {"slices": ct.voxels.shape[0], "spacing_mm": " x ".join(f"{mm:g}" for mm in ct.spacing_mm)}
        reference = read_reference(scan, ct)
        if reference is None or not reference.any():
            row["reference"] = NO_REFERENCE if reference is None else NO_KIDNEYS
        began = time.perf_counter()
        labels, report = explain(ct)
        row |= score(labels, reference) | {"kidneys": report.get("kidneys"), "seconds": time.perf_counter() - began}
        keep(ct, labels, reference, report, row)
    except RunError:
        raise
    except Exception as error:  # any error of one scan must not stop the others
        row["note"] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        if reference is not None and reference.any() and row["kidney_dice"] is None:
            row |= {"kidney_dice": 0.0, "surface_dice": 0.0}
    return row
