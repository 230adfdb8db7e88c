"""The numbers of a radiology report: how large each kidney and each tumor is, and on which side.

Labels and their scan go in, plain JSON values come out. A kidney is a connected piece of kidney-with-tumor, so fused
kidneys are one; a tumor is a connected piece of tumor. Lengths are measured between voxel faces, not centres.
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

SPECK_ML = 0.1  # a smaller piece is left over from resampling and is not listed
ONE_SIDED = 0.8  # share of a kidney's voxels that must lie on one side of the midline; else it is on both


def measure(labels: Volume, ct: Volume) -> dict[str, list[dict]]:
    """Measures kidneys and tumors.

    Args:
        labels: Volume of class ids, in the canonical orientation.
        ct: Volume in Hounsfield units, as the labels lie; tells where the body's midline is.

    Returns:
        dict of `kidneys`, from the patient's right to left, and `tumors`, largest first, each a list of dicts:

        kidneys   side ("right", "left", or "both" for fused ones), volume_ml (tumor included), tumor_ml,
                  tumor_share (0 to 1)
        tumors    side, volume_ml, diameter_axial_mm (largest in any axial slice), diameter_mm (largest in 3D),
                  slice (of the largest axial diameter, from 0 at the head)
    """
    box = common_box(classes.foreground(labels.voxels))
    if box is None:
        return {"kidneys": [], "tumors": []}
    first_z, _, first_x = (axis.start for axis in box)
    inside, midline = labels.voxels[box], _midline(ct.voxels[box[0]]) - first_x
    kidneys, tumors = [], []
    for block, kidney, found in _pieces(classes.foreground(inside), labels.voxel_ml, midline):
        tumor_ml = labels.voxel_ml * np.count_nonzero(kidney & classes.tumor(inside[block]))
        kidneys.append({**found, "tumor_ml": round(tumor_ml, 2),
                        "tumor_share": round(tumor_ml / (labels.voxel_ml * np.count_nonzero(kidney)), 4)})
    for block, tumor, found in _pieces(classes.tumor(inside), labels.voxel_ml, midline):
        axial_mm = [largest_diameter_mm(plane, labels.spacing_mm[1:]) for plane in tumor]
        tumors.append({**found, "diameter_axial_mm": round(max(axial_mm), 1),
                       "diameter_mm": round(largest_diameter_mm(tumor, labels.spacing_mm), 1),
                       "slice": first_z + block[0].start + int(np.argmax(axial_mm))})
    return {"kidneys": kidneys, "tumors": sorted(tumors, key=lambda tumor: -tumor["volume_ml"])}


def largest_diameter_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """The greatest distance between two points on a mask's surface (its maximum Feret diameter).

    Points of the surface lie half a voxel from the centres of the outermost voxels along each axis, where scikit-image
    puts them too (`feret_diameter_max`, which needs memory for all pairs of them; here only corners of the convex hull
    are paired).

    Args:
        mask: bool, in a plane or in space.
        spacing_mm: voxel size along each of its axes.

    Returns:
        mm; 0 for an empty mask.
    """
    if not mask.any():
        return 0.0
    rim = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    faces = np.concatenate([step * np.eye(mask.ndim) for step in (-0.5, 0.5)])
    points = np.unique((rim[:, None] + faces).reshape(-1, mask.ndim), axis=0) * spacing_mm
    return float(pdist(points[ConvexHull(points).vertices]).max())


def _pieces(mask, voxel_ml, midline):
    """Each connected piece of a mask that is no speck, from the patient's right to left: (its bounding box as slices,
    its own mask in there, dict of `side` and `volume_ml`)."""
    numbered = cc3d.connected_components(mask, connectivity=26)
    found = cc3d.statistics(numbered)  # number 0 is what is around the pieces
    listed = [number for number, voxels in enumerate(found["voxel_counts"]) if number and voxels * voxel_ml >= SPECK_ML]
    for number in sorted(listed, key=lambda number: found["centroids"][number][2]):
        block = found["bounding_boxes"][number]
        piece = numbered[block] == number
        yield block, piece, {"side": _side(piece, midline - block[2].start),
                             "volume_ml": round(float(voxel_ml * found["voxel_counts"][number]), 2)}


def _midline(hu):
    """Where the body's middle lies along x, in voxels: the median of what is not air."""
    along = np.count_nonzero(hu > BODY_HU, axis=(0, 1))
    if not along.any():
        return hu.shape[2] / 2
    return float(np.searchsorted(np.cumsum(along), along.sum() / 2))


def _side(piece, midline):
    on_the_right = float((np.nonzero(piece)[2] < midline).mean())
    if on_the_right >= ONE_SIDED:
        return "right"
    return "left" if on_the_right <= 1 - ONE_SIDED else "both"
