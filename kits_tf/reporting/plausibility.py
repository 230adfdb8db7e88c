"""Warns about results that are implausible for a patient, whatever the nets were sure of.

Takes the measured findings (measurements.py) with labels and scan; returns one sentence for each doubt. Nothing here
changes a voxel.

Volumes: kidneys of adults have 90 to 300 ml (Cheong et al. 2007, MRI; Gandhi et al. 2013, CT), fewer in atrophy, more
with cysts.
"""

import numpy as np

from kits_tf import labels as classes
from kits_tf.volume import BODY_HU, Volume

LEAST_ML, MOST_ML = 60.0, 500.0  # of a kidney without its tumor
PIECE_ML = 10.0  # a smaller component counts as a fragment, not as a kidney
MOST_KIDNEYS = 2
MOST_TUMOR = 0.5  # share of a kidney
APART_MM = 100.0  # largest usual difference in height between the two kidneys' middles
LUNG_HU = (-950.0, -600.0)
MOST_LUNG = 0.25  # share of lung in the body at the height of a kidney's middle


def doubts(findings: dict[str, list[dict]], labels: Volume, ct: Volume) -> list[str]:
    """Returns the warnings about a result.

    Args:
        findings: the result of measurements.measure.
        labels: Volume of class ids, in the canonical orientation.
        ct: Volume in Hounsfield units, on the labels' grid.

    Returns:
        List of sentences; empty if nothing is unusual.
    """
    kidneys = [kidney for kidney in findings["kidneys"] if kidney["volume_ml"] >= PIECE_ML]
    said = []
    if len(kidneys) > MOST_KIDNEYS:
        said.append(f"{len(kidneys)} separate parts of {PIECE_ML:.0f} ml or more are labeled kidney: at least "
                    f"{len(kidneys) - MOST_KIDNEYS} may be another organ.")
    for kidney in kidneys:
        said += _kidney_doubts(kidney)
    return said + _height_doubts(labels, ct)


def _kidney_doubts(kidney):
    where = {"both": "fused"}.get(kidney["side"], kidney["side"])
    healthy_ml = kidney["volume_ml"] - kidney["tumor_ml"]
    most_ml = MOST_ML * (2 if kidney["side"] == "both" else 1)
    said = []
    if kidney["tumor_share"] > MOST_TUMOR:
        said.append(f"{kidney['tumor_share']:.0%} of the {where} kidney is labeled tumor: a very large tumor, or an "
                    f"error.")
    elif healthy_ml < LEAST_ML:
        said.append(f"The {where} kidney has only {healthy_ml:.0f} ml without tumor: it is small, cut off or found in "
                    f"part only.")
    if healthy_ml > most_ml:
        said.append(f"The {where} kidney has {healthy_ml:.0f} ml without tumor, more than the usual {most_ml:.0f} ml: "
                    f"it may include another organ.")
    return said


def _height_doubts(labels, ct):
    """Warns if a kidney lies at the height of the lungs, or the two sides lie far apart."""
    profile = np.count_nonzero(classes.foreground(labels.voxels), axis=1)  # (z, x)
    if not profile.any():
        return []
    said = []
    middle = ct.voxels.shape[2] // 2
    heights = []
    for half in (profile[:, :middle], profile[:, middle:]):
        along = half.sum(axis=1)
        if along.sum() * labels.voxel_ml >= PIECE_ML:
            heights.append(float(np.average(np.arange(len(along)), weights=along)))
    for height in heights:
        plane = ct.voxels[round(height)].astype(np.float32)
        lung = np.count_nonzero((plane > LUNG_HU[0]) & (plane < LUNG_HU[1]))
        body = np.count_nonzero(plane > BODY_HU)
        if lung > MOST_LUNG * max(body, 1):
            said.append(f"What is labeled kidney around slice {round(height)} lies at the height of the lungs.")
    if len(heights) == 2 and (apart_mm := abs(heights[0] - heights[1]) * labels.spacing_mm[0]) > APART_MM:
        said.append(f"The kidneys lie {apart_mm:.0f} mm apart in height: one is out of its usual place, or an error.")
    return said
