"""Warns about results that are implausible for a patient, whatever the nets were sure of.

Takes the measured findings (measurements.py) and the scan; returns one sentence for each warning. Nothing
here changes a voxel.

Volumes: kidneys of adults have 90 to 300 ml (Cheong et al. 2007, MRI; Gandhi et al. 2013, CT), fewer in atrophy, more
with cysts.
"""

import numpy as np

from kits_tf.labels import NORMAL_KIDNEYS
from kits_tf.volume import BODY_HU, Volume

LEAST_ML, MOST_ML = 60.0, 500.0  # of a kidney without its tumor
PIECE_ML = 10.0  # a smaller component counts as a fragment, not as a kidney
MOST_TUMOR = 0.5  # share of a kidney
APART_MM = 100.0  # largest usual difference in height between the two kidneys' middles
LUNG_HU = (-950.0, -600.0)
MOST_LUNG = 0.25  # share of lung in the body at the height of a kidney's middle


def result_warnings(findings: dict[str, list[dict]], ct: Volume) -> list[str]:
    """Returns the warnings about a result.

    Args:
        findings: the result of measurements.measure.
        ct: Volume in Hounsfield units, on the grid of the findings.

    Returns:
        List of sentences; empty if nothing is unusual.
    """
    kidneys = [kidney for kidney in findings["kidneys"] if kidney["volume_ml"] >= PIECE_ML]
    found = []
    if len(kidneys) > NORMAL_KIDNEYS:
        found.append(f"{len(kidneys)} separate parts of {PIECE_ML:.0f} ml or more are labeled kidney: at least "
                     f"{len(kidneys) - NORMAL_KIDNEYS} may be another organ.")
    for kidney in kidneys:
        found += _kidney_warnings(kidney)
    return found + _height_warnings(findings["kidneys"], ct)


def _kidney_warnings(kidney):
    where = {"both": "fused"}.get(kidney["side"], kidney["side"])
    healthy_ml = kidney["volume_ml"] - kidney["tumor_ml"]
    most_ml = MOST_ML * (2 if kidney["side"] == "both" else 1)
    found = []
    if kidney["tumor_share"] > MOST_TUMOR:
        found.append(f"{kidney['tumor_share']:.0%} of the {where} kidney is labeled tumor: a very large tumor, or an "
                     f"error.")
    elif healthy_ml < LEAST_ML:
        found.append(f"The {where} kidney has only {healthy_ml:.0f} ml without tumor: it is small, cut off or found in "
                     f"part only.")
    if healthy_ml > most_ml:
        found.append(f"The {where} kidney has {healthy_ml:.0f} ml without tumor, more than the usual {most_ml:.0f} ml: "
                     f"it may include another organ.")
    return found


def _height_warnings(kidneys, ct):
    """Warns if a kidney lies at the height of the lungs, or the two sides lie far apart."""
    heights = {}  # of each side: the mean height of what is labeled kidney there
    for side in ("right", "left", "both"):
        parts = [kidney for kidney in kidneys if kidney["side"] == side]
        if sum(part["volume_ml"] for part in parts) >= PIECE_ML:
            heights[side] = float(np.average([part["centre_zyx"][0] for part in parts],
                                             weights=[part["volume_ml"] for part in parts]))
    found = []
    for height in heights.values():
        plane = ct.voxels[round(height)].astype(np.float32)
        lung = np.count_nonzero((plane > LUNG_HU[0]) & (plane < LUNG_HU[1]))
        body = np.count_nonzero(plane > BODY_HU)
        if lung > MOST_LUNG * max(body, 1):
            found.append(f"What is labeled kidney around slice {round(height)} lies at the height of the lungs.")
    if {"right", "left"} <= heights.keys():
        apart_mm = abs(heights["right"] - heights["left"]) * ct.spacing_mm[0]
        if apart_mm > APART_MM:
            found.append(f"The kidneys lie {apart_mm:.0f} mm apart in height: one is out of its usual place, or an "
                         f"error.")
    return found
