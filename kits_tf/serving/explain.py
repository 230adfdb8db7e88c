"""Prepares a cascade's input and explains its output, for local and remote cascades.

Takes a scan and returns its voxels as int16; takes the cascade's outputs and returns labels and a JSON report.
"""

import numpy as np

from kits_tf.config import CascadeConfig
from kits_tf.errors import InputError
from kits_tf.labels import NORMAL_KIDNEYS
from kits_tf.scans.limits import check_grid
from kits_tf.scans.warnings import label_warnings, scan_warnings
from kits_tf.volume import Volume, to_int16

FOUND = ("kidneys_found", "tumors_found")  # outputs with a row per component (cascade/confidence.py)


def accepted(volume: Volume, config: CascadeConfig) -> np.ndarray:
    """Returns a scan's voxels as the cascade takes them: int16; other types are rounded and clipped.

    Raises:
        InputError: if a voxel is NaN or infinite, or the scan is too large at the nets' spacing (scans/limits.py).
    """
    check_grid(volume.voxels.shape, volume.spacing_mm, config.spacing_mm)
    if volume.voxels.dtype.kind == "f" and not np.isfinite(volume.voxels).all():
        raise InputError("the scan has voxels that are NaN or infinite; expected finite Hounsfield units")
    return to_int16(volume.voxels)


def answer(volume: Volume, outputs: dict[str, np.ndarray], config: CascadeConfig) -> tuple[Volume, dict]:
    """Returns (labels, report): a Volume of uint8 class ids with the scan's geometry, and the report."""
    return volume.with_voxels(outputs["labels"]), report(outputs, config, volume)


def report(outputs: dict[str, np.ndarray], config: CascadeConfig, volume: Volume) -> dict:
    """Reports the cascade's decisions for a case.

    Args:
        outputs: dict of NumPy values, as returned by kits_tf.cascade.module.segment.
        config: CascadeConfig of the export.
        volume: the scan.

    Returns:
        dict of JSON values: the outputs without the labels, and `warnings`, sentences for a human reader: first on the
        scan, then on the cascade's decisions, then on organs cut off by the edge of the scan. A row of FOUND becomes a
        dict of `centre_zyx` (voxels of the scan), `volume_ml` and `confidence`.
    """
    found = {name: _plain(value) for name, value in sorted(outputs.items()) if name != "labels"}
    found["coarse_components_ml"] = sorted(found["coarse_components_ml"], reverse=True)
    for name in FOUND:
        if name in found:  # older exports have none
            found[name] = [{"centre_zyx": row[:3], "volume_ml": row[3], "confidence": row[4]} for row in found[name]]
    return {**found, "warnings": [*scan_warnings(volume, config.spacing_mm), *_warnings(found, config),
                                  *label_warnings(np.asarray(outputs["labels"]))]}


def _plain(value):
    value = np.asarray(value)
    return np.round(value.astype(float), 3).tolist() if value.dtype.kind == "f" else value.tolist()


def _warnings(found, config):
    warnings = []
    if found["coarse_empty"]:
        warnings.append("The coarse net found no kidney; the correction net searched around the center of the body.")
    elif found["correction_used"]:
        warnings.append(f"The coarse net found {found['kidneys_coarse']} kidneys, not {NORMAL_KIDNEYS}; the "
                        f"correction net was used and found {found['kidneys']}.")
    if found["kidneys"] == 0:
        warnings.append("No kidney was found; all voxels are background.")
    elif found["kidneys"] != NORMAL_KIDNEYS:
        warnings.append(f"{found['kidneys']} kidney(s) were segmented: a missing kidney, fused kidneys, or an error.")
    if found.get("kidney_parts_dropped"):  # older exports do not have this count
        warnings.append(f"{found['kidney_parts_dropped']} part(s) that only the fine net took for kidney were "
                        f"dropped.")
    if found.get("smaller_parts_dropped"):
        warnings.append(f"{found['smaller_parts_dropped']} part(s) that look like kidney, smaller than the "
                        f"{config.most_kidneys} kept, were dropped: a kidney more, such as a transplant, or an error.")
    if found["tumor_fallback_used"]:
        little = f"fewer than {config.tumor_min_voxels} voxels of tumor, which are ignored"
        warnings.append(f"The 3D tumor net found {little if found['lesions_kept'] else 'no tumor'}; the 2D tumor net "
                        f"searched the whole kidney region.")
    if found["kidneys"] and found["tumor_ml"] == 0:
        warnings.append("No tumor was found.")
    if found["lesions_dropped"]:
        warnings.append(f"{found['lesions_dropped']} lesion(s) that touch no kidney were dropped.")
    return warnings
