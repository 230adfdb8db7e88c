"""Measurements for a radiology report: size and side of each kidney and each tumor.

Takes labels and their scan; returns JSON values. A kidney is a connected component of kidney with tumor, so fused
kidneys count as one. A tumor is a connected component of tumor. Lengths are between voxel faces, not voxel centers.
"""

from collections.abc import Sequence

import cc3d
import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from kits_tf import labels as classes
from kits_tf.box import common_box
from kits_tf.volume import BODY_HU, Volume

SPECK_ML = 0.1  # smaller components are artifacts of resampling and are not listed
ONE_SIDED = 0.8  # a component is on one side if this share of its voxels is there, otherwise on both


def measure(labels: Volume, ct: Volume) -> dict[str, list[dict]]:
    """Measures kidneys and tumors.

    Args:
        labels: Volume of class ids, in the canonical orientation.
        ct: Volume in Hounsfield units, on the labels' grid; used to find the body's midline.

    Returns:
        dict of `kidneys`, from the patient's right to left, and `tumors`, largest first, each a list of dicts; both
        lists are empty without foreground. Components below SPECK_ML are left out.

        kidneys   side ("right", "left", or "both" for fused ones), centre_zyx (centroid, in voxels), volume_ml (tumor
                  included), tumor_ml, tumor_share (0 to 1)
        tumors    side, centre_zyx, volume_ml, diameter_axial_mm (largest in any axial slice), diameter_mm (largest in
                  3D), slice (of the largest axial diameter, counted from 0 at the head)
    """
    box = common_box(classes.foreground(labels.voxels))
    if box is None:
        return {"kidneys": [], "tumors": []}
    corner = np.array([axis.start for axis in box])
    first_z, _, first_x = corner.tolist()
    inside, midline = labels.voxels[box], _midline(ct.voxels[box[0]]) - first_x
    kidneys, tumors = [], []
    for block, kidney, found in _pieces(classes.foreground(inside), labels.voxel_ml, midline, corner):
        tumor_ml = labels.voxel_ml * np.count_nonzero(kidney & classes.tumor(inside[block]))
        kidneys.append({**found, "tumor_ml": round(tumor_ml, 2),
                        "tumor_share": round(tumor_ml / (labels.voxel_ml * np.count_nonzero(kidney)), 4)})
    for block, tumor, found in _pieces(classes.tumor(inside), labels.voxel_ml, midline, corner):
        axial_mm = [largest_diameter_mm(plane, labels.spacing_mm[1:]) for plane in tumor]
        tumors.append({**found, "diameter_axial_mm": round(max(axial_mm), 1),
                       "diameter_mm": round(largest_diameter_mm(tumor, labels.spacing_mm), 1),
                       "slice": first_z + block[0].start + int(np.argmax(axial_mm))})
    return {"kidneys": kidneys, "tumors": sorted(tumors, key=lambda tumor: -tumor["volume_ml"])}


def largest_diameter_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Computes the largest distance between two points on a mask's surface (its maximum Feret diameter).

    The surface points are half a voxel from the centers of the outermost voxels along each axis, as in scikit-image's
    `feret_diameter_max`. That function needs memory for all pairs of points; this one pairs only the corners of the
    convex hull.

    Args:
        mask: bool, 2D or 3D.
        spacing_mm: voxel size along each axis of the mask, in mm.

    Returns:
        The diameter in mm; 0 for an empty mask.
    """
    if not mask.any():
        return 0.0
    rim = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    faces = np.concatenate([step * np.eye(mask.ndim) for step in (-0.5, 0.5)])
    points = np.unique((rim[:, None] + faces).reshape(-1, mask.ndim), axis=0) * spacing_mm
    return float(pdist(points[ConvexHull(points).vertices]).max())


def add_confidence(findings: dict[str, list[dict]], report: dict) -> None:
    """Adds `confidence` to each finding: that of the cascade's component whose centroid is the nearest.

    The cascade lists its components on the normalized grid (cascade/confidence.py). Resampled to the scan's voxels they
    are the findings, but for voxels at their edges.

    Args:
        findings: the result of `measure`; changed in place. Without a component, no `confidence` is added.
        report: the cascade's report, with `kidneys_found` and `tumors_found` unless the export is older.
    """
    for what, pieces in findings.items():
        listed = report.get(f"{what}_found", ())
        for piece in pieces:
            distances = [np.linalg.norm(np.subtract(one["centre_zyx"], piece["centre_zyx"])) for one in listed]
            if listed:
                piece["confidence"] = listed[int(np.argmin(distances))]["confidence"]


def _pieces(mask, voxel_ml, midline, corner):
    """Finds the connected components of at least SPECK_ML, from the patient's right to left.

    Yields:
        (block, piece, found): the bounding box as slices, the component's mask inside it, and a dict of `side`,
        `centre_zyx` (with `corner`, the mask's first voxel, added) and `volume_ml`.
    """
    numbered = cc3d.connected_components(mask, connectivity=26)
    found = cc3d.statistics(numbered)  # number 0 is the background
    listed = [number for number, voxels in enumerate(found["voxel_counts"]) if number and voxels * voxel_ml >= SPECK_ML]
    for number in sorted(listed, key=lambda number: found["centroids"][number][2]):
        block = found["bounding_boxes"][number]
        piece = numbered[block] == number
        yield block, piece, {"side": _side(piece, midline - block[2].start),
                             "centre_zyx": [round(float(place), 1) for place in found["centroids"][number] + corner],
                             "volume_ml": round(float(voxel_ml * found["voxel_counts"][number]), 2)}


def _midline(hu):
    """Returns the body's midline along x, in voxels: the median position of voxels that are not air."""
    along = np.count_nonzero(hu > BODY_HU, axis=(0, 1))
    if not along.any():
        return hu.shape[2] / 2
    return float(np.searchsorted(np.cumsum(along), along.sum() / 2))


def _side(piece, midline):
    on_the_right = float((np.nonzero(piece)[2] < midline).mean())
    if on_the_right >= ONE_SIDED:
        return "right"
    return "left" if on_the_right <= 1 - ONE_SIDED else "both"
