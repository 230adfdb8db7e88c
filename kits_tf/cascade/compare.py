"""Compares the labels of two cascades on the same scans, for example float32 with a lower precision.

Takes scans, with ground truth if available; returns Dice and seconds per case.
"""

import pathlib
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf
import tqdm

from kits_tf import labels as classes
from kits_tf.errors import InputError
from kits_tf.metrics import dice_of_counts
from kits_tf.quiet import no_bar
from kits_tf.scans.discovery import find_study
from kits_tf.scans.nifti import read_labels, read_volume
from kits_tf.volume import AIR_HU, Volume, check_same_place, to_int16

Cascade = Callable[..., dict[str, tf.Tensor]]
LEAST_DICE = 0.998  # of bfloat16's labels with float32's, for a stage to compute in bfloat16
LEAST_ML = 1.0  # of a mask; the Dice of smaller ones says little
MASKS = {"kidney": classes.foreground, "tumor": classes.tumor}  # KiTS19's regions: kidney with tumor, and tumor


def study_cases(folder: str | pathlib.Path) -> Iterator[tuple[str, Volume, Volume | None]]:
    """Reads a study's cases one by one.

    Yields:
        (name, scan, labels or None).

    Raises:
        InputError: if there are no cases, a case exists twice, or labels and scan differ in geometry.
    """
    cases = [case for case in find_study(folder) if case.imaging.exists()]
    if not cases:
        raise InputError(f"{folder}: contains no scan; expected case_xxxxx/imaging.nii.gz")
    for case in cases:
        case.check_single()
    return map(_read, cases)


def _read(case):
    scan, truth = read_volume(case.imaging), read_labels(case.segmentation) if case.segmentation else None
    if truth:
        check_same_place(case.segmentation, truth, scan, "scan")
    return case.name, scan, truth


def compare(reference: Cascade, other: Cascade, cases: Iterable[tuple[str, Volume, Volume | None]]) -> list[dict]:
    """Runs two cascades on the same scans.

    Args:
        reference, other: functions from `volume` and `spacing_mm` to a dict with `labels`, such as those of
            kits_tf.cascade.module.Cascade.
        cases: iterable of (name, scan Volume, Volume of true labels or None).

    Returns:
        A list of dicts, one per case: `case`, `seconds`, `other_seconds`, and for each of MASKS the Dice between the
        two cascades (`<mask>`) and against the truth (`<mask>_reference`, `<mask>_other`; NaN without truth), and the
        larger one's volume (`<mask>_ml`).
    """
    air = Volume.from_spacing(np.full((8, 32, 32), AIR_HU, np.int16), (5.0, 10.0, 10.0))
    for cascade in (reference, other):
        _run(cascade, air)  # the first call also optimizes the graph, so it is not timed
    rows = []
    for name, scan, truth in tqdm.tqdm(cases, desc="comparing", unit="case", disable=no_bar()):
        (labels, seconds), (others, other_seconds) = (_run(cascade, scan) for cascade in (reference, other))
        row = {"case": name, "seconds": seconds, "other_seconds": other_seconds}
        for mask, of in MASKS.items():
            row[mask] = _dice(of(labels), of(others))
            row[f"{mask}_ml"] = max(np.count_nonzero(of(found)) for found in (labels, others)) * scan.voxel_ml
            for whose, found in (("reference", labels), ("other", others)):
                row[f"{mask}_{whose}"] = _dice(of(truth.voxels), of(found)) if truth else float("nan")
        rows.append(row)
    return rows


def least_dice(rows: list[dict]) -> float:
    """Returns the least Dice between the two cascades, over all cases and masks of at least LEAST_ML; 1 if none is."""
    return min((row[mask] for row in rows for mask in MASKS if row[f"{mask}_ml"] >= LEAST_ML), default=1.0)


def table(rows: list[dict], reference: str, other: str) -> str:
    """Formats the rows and their means as text; `reference` and `other` are the names of the two cascades."""
    numbers = [name for name in rows[0] if name != "case" and not name.endswith("_ml")]
    mean = {"case": "mean", **{name: float(np.mean([row[name] for row in rows])) for name in numbers}}
    short = f"{reference} > {other}"
    lines = [f"{'Dice of both':>48}{'kidney, ground truth':>26}{'tumor, ground truth':>28}{'seconds':>26}",
             f"{'case':<24}{'kidney':>12}{'tumor':>12}" + f"{short:>26}" * 3]
    for row in [*rows, mean]:
        pairs = [f"{row[f'{mask}_reference']:.4f} > {row[f'{mask}_other']:.4f}" for mask in MASKS]
        pairs.append(f"{row['seconds']:.1f} > {row['other_seconds']:.1f}")
        lines.append(f"{row['case'][:23]:<24}{row['kidney']:>12.4f}{row['tumor']:>12.4f}"
                     + "".join(f"{pair:>26}" for pair in pairs))
    return "\n".join(lines)


def _run(cascade, scan):
    """Returns (labels, seconds)."""
    began = time.monotonic()
    outputs = cascade(volume=tf.constant(to_int16(scan.voxels)), spacing_mm=tf.constant(scan.spacing_mm, tf.float32))
    return outputs["labels"].numpy(), time.monotonic() - began


def _dice(one, other):
    return float(dice_of_counts([[np.count_nonzero(one & other), np.count_nonzero(one), np.count_nonzero(other)]])[0])
