"""Matches predicted kidneys and tumors with the ground truth, and scores and fits their confidence."""

import json
import pathlib

import cc3d
import numpy as np
from scipy import optimize, stats

from kits_tf import labels
from kits_tf.errors import InputError
from kits_tf.scans.nifti import read_labels

TRUE_SHARE = 0.25
SPECK_ML = 0.1
DRAWS = 1000  # of the bootstrap
RIDGE = 1e-3  # weak pull of the coefficients to zero, so that separable findings have finite ones
CLASSES = {"kidneys": (labels.foreground, "kidney_confidence"), "tumors": (labels.tumor, "tumor_confidence")}


def findings(predictions: pathlib.Path, study: pathlib.Path, what: str) -> np.ndarray:
    """Matches the report's components with the ground truth.

    Returns:
        float array (findings, 4): number of the case, volume in ml, confidence, and 1.0 if true, else 0.0.

    Raises:
        InputError: if no case has both a report and ground truth.
    """
    rows, wanted = [], CLASSES[what][0]
    reports = sorted(path for path in predictions.glob("*.json") if _truth_of(study, path).is_file())
    if not reports:
        raise InputError(f"{predictions}: no report of a case that {study} has")
    for number, path in enumerate(reports):
        listed = json.loads(path.read_text()).get(f"{what}_found", [])
        predicted = wanted(read_labels(path.with_suffix(".nii.gz")).voxels)
        truth = read_labels(_truth_of(study, path))
        numbered = cc3d.connected_components(predicted, connectivity=26)
        known = cc3d.statistics(numbered)
        for component in range(1, len(known["voxel_counts"])):
            volume_ml = known["voxel_counts"][component] * truth.voxel_ml
            if volume_ml < SPECK_ML or not listed:
                continue
            block = known["bounding_boxes"][component]
            share = wanted(truth.voxels[block])[numbered[block] == component].mean()
            distances = [np.linalg.norm(np.subtract(one["centre_zyx"], known["centroids"][component]))
                         for one in listed]
            nearest = listed[int(np.argmin(distances))]
            rows.append((number, nearest["volume_ml"], nearest["confidence"], float(share >= TRUE_SHARE)))
    return np.array(rows, float).reshape(-1, 4)


def _truth_of(study, report):
    return study / report.stem.replace("prediction_", "case_") / "segmentation.nii.gz"


def auroc(scores: np.ndarray, true: np.ndarray) -> float:
    """Computes the probability that a true finding has a higher score than a false one; ties count half. NaN if there
    are none of one kind."""
    yes, no = scores[true > 0], scores[true == 0]
    if not len(yes) or not len(no):
        return float("nan")
    return float(stats.mannwhitneyu(yes, no).statistic / (len(yes) * len(no)))


def interval(rows: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % interval of the AUROC, from a bootstrap over cases."""
    rng, cases = np.random.default_rng(0), np.unique(rows[:, 0])
    by_case = {case: rows[rows[:, 0] == case] for case in cases}
    drawn = (np.concatenate([by_case[case] for case in rng.choice(cases, len(cases))]) for _ in range(DRAWS))
    return tuple(np.nanpercentile([auroc(one[:, 2], one[:, 3]) for one in drawn], (2.5, 97.5)))


def fit(rows: np.ndarray, before: tuple[float, float, float]) -> tuple[float, float, float]:
    """Fits (a, b, c) of kits_tf/cascade/confidence.py by logistic regression.

    Args:
        rows: the result of `findings`.
        before: the coefficients that the confidences were made with.
    """
    volume, confidence, true = rows[:, 1:].T
    bounded, size = np.clip(confidence, 5e-4, 1 - 5e-4), np.log(np.maximum(volume, 1e-3))
    raw = (np.log(bounded / (1 - bounded)) - before[0] - before[2] * size) / before[1]
    inputs = np.stack([np.ones_like(raw), raw, size])

    def loss(coefficients):
        logits = coefficients @ inputs
        return np.mean(np.logaddexp(0, logits) - true * logits) + RIDGE * np.sum(np.square(coefficients))

    return tuple(round(float(value), 3) for value in optimize.minimize(loss, np.array([0.0, 1.0, 0.0])).x)


def table(rows: np.ndarray) -> list[str]:
    """Returns lines of a Markdown table: the share of true findings by confidence."""
    lines = ["| confidence | findings | true |", "| --- | --- | --- |"]
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        within = rows[(rows[:, 2] >= low) & ((rows[:, 2] < low + 0.2) | (low == 0.8))]
        share = f"{100 * within[:, 3].mean():.0f} %" if len(within) else ""
        lines.append(f"| {low:.1f} to {low + 0.2:.1f} | {len(within)} | {share} |")
    return lines
