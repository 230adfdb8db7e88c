"""Draws one CT of a whole-body phantom with its labels and notes, from a seed.

In: a seed and the requested voxel grid. Out: two Volumes in the canonical orientation on one grid, and notes.
"""

import numpy as np

from kits_tf.phantoms.body.bowel import draw_bowel
from kits_tf.phantoms.body.canvas import Canvas
from kits_tf.phantoms.body.devices import draw_ascites, draw_devices
from kits_tf.phantoms.body.frame import draw_frame
from kits_tf.phantoms.body.kidneys import plan_kidneys
from kits_tf.phantoms.body.lesions import WITH_TUMOR, draw_cysts, draw_tumors
from kits_tf.phantoms.body.organs import draw_organs
from kits_tf.phantoms.body.parenchyma import draw_bridge, draw_kidney, draw_perirenal
from kits_tf.phantoms.body.patient import Patient
from kits_tf.phantoms.body.pelvis import draw_pelvis
from kits_tf.phantoms.body.scanner import draw_table, plan_view, scan
from kits_tf.phantoms.body.skeleton import draw_skeleton
from kits_tf.phantoms.body.thorax import draw_thorax
from kits_tf.phantoms.body.tissues import Tissues, at_voltage
from kits_tf.phantoms.body.vessels import draw_vessels
from kits_tf.volume import Volume


def draw_body(seed: int | tuple[int, ...], size_voxels: int = 512, slice_mm: tuple[float, float] = (0.5, 10.0),
              field_mm: tuple[float, float] | None = None,
              tumor_share: float = WITH_TUMOR) -> tuple[Volume, Volume, dict]:
    """Draws a scan and its labels.

    Args:
        seed: int or tuple of ints; the same arguments give the same voxels.
        size_voxels: voxels along y and along x.
        slice_mm: range of the distance between slices.
        field_mm: range of the in-plane field of view; None for about the body's width.
        tumor_share: probability that a patient with kidneys has a tumor.

    Returns:
        (ct, labels, notes): Volumes of int16 HU and of uint8 classes; notes for study.json.
    """
    patient_rng, view_rng, kidney_rng, drawing_rng, scan_rng = np.random.default_rng(seed).spawn(5)
    patient = Patient.random(patient_rng)
    tissues = Tissues.random(patient_rng)
    view = plan_view(view_rng, patient, size_voxels, slice_mm, field_mm)
    tissues = at_voltage(tissues, view.kilovolts)
    canvas = Canvas(view.grid, view.pose, view_rng)
    layout, kidneys, bridges = plan_kidneys(kidney_rng, patient)
    findings: list[str] = []
    draw_frame(canvas, patient, tissues, drawing_rng)
    findings += draw_ascites(canvas, patient, tissues, drawing_rng)
    fossa = [side for side in (-1, 1) if all(kidney.side != side for kidney in kidneys)]
    oral = draw_bowel(canvas, patient, tissues, drawing_rng, fossa)
    findings += draw_organs(canvas, patient, tissues, drawing_rng)
    draw_thorax(canvas, patient, tissues, drawing_rng)
    draw_skeleton(canvas, patient, tissues, drawing_rng)
    draw_pelvis(canvas, patient, tissues, drawing_rng)
    findings += draw_vessels(canvas, patient, tissues, drawing_rng)
    findings += draw_devices(canvas, patient, drawing_rng)
    draw_perirenal(canvas, patient, tissues, kidneys, kidney_rng)
    for bridge in bridges:
        draw_bridge(canvas, tissues, bridge)
    for kidney in kidneys:
        findings += draw_kidney(canvas, tissues, kidney, kidney_rng)
    cysts = draw_cysts(canvas, patient, tissues, kidneys, kidney_rng) if kidneys else 0
    tumors = draw_tumors(canvas, patient, tissues, kidneys, kidney_rng, tumor_share) if kidneys else []
    draw_table(canvas, patient, scan_rng)
    ct = Volume.from_spacing(scan(canvas, view, scan_rng), view.grid.spacing_mm)
    notes = {"phase": tissues.phase, "wild": tissues.wild, "kidneys": layout if canvas.labels.any() else "not in view",
             "cysts": cysts, "tumors": tumors,
             "findings": sorted(set(findings)), "bowel": oral, "arms": patient.arms,
             "patient": {"male": patient.male, "fat_mm": round(patient.fat_mm, 1)}, "scanner": view.notes}
    return ct, ct.with_voxels(canvas.labels), notes
