"""Draws bladder, prostate or uterus, rectum, and the structures of the groin."""

import numpy as np

from kits_tf.phantoms.body.canvas import Canvas
from kits_tf.phantoms.body.patient import Patient
from kits_tf.phantoms.body.shapes import fill_hollow, lumpy, shrunk, tilted
from kits_tf.phantoms.body.tissues import Tissues
from kits_tf.phantoms.drawing import edge, ellipsoid


def draw_pelvis(canvas: Canvas, patient: Patient, tissues: Tissues, rng: np.random.Generator) -> None:
    """Paints the pelvic organs; call it after bowel and bones."""
    organ = tissues.myocardium if tissues.phase != "native" else tissues.muscle
    for side in (-1, 1):  # obturator and levator muscles, vessels of the groin, testes or nodes
        canvas.paint(ellipsoid((245, -10, side * 54), (34, 38, 8)), tissues.muscle, 3.0)
        canvas.paint(ellipsoid((272, 30, side * 26), (20, 32, 5)), tissues.muscle, 3.0)
        for offset in (0, 14):
            canvas.paint(ellipsoid((250 + rng.uniform(-15, 40), -66, side * (72 + offset)), rng.uniform(3, 8, 3)),
                         tissues.muscle, 2.0)
    fill = rng.uniform(0.25, 1.25)
    centre = np.array([240 - 26 * fill, -34.0, rng.uniform(-6, 6)])
    if patient.male:
        size = rng.uniform(0.8, 1.5)
        canvas.paint(ellipsoid((262, -14, 0), np.array([18, 17, 23]) * size), organ, 3.0)
        for side in (-1, 1):
            canvas.paint(ellipsoid((240, 8, side * 18), (7, 6, 17)), organ - 10, 2.5)
    elif rng.random() < 0.8:
        uterus = lumpy(rng, ellipsoid((218, -8, rng.uniform(-15, 15)), rng.uniform(20, 34, 3) * (1, 1.2, 1.2),
                                      tilted(rng, 0.5)), 1.5, 22.0)
        canvas.paint(uterus, organ, 3.0)
        canvas.paint(shrunk(uterus, 12.0), organ - 30, 3.0, soft_mm=3.0)
        for side in (-1, 1):
            radius = rng.uniform(8, 26) if rng.random() < 0.4 else rng.uniform(7, 13)
            canvas.paint(ellipsoid((212, 2, side * rng.uniform(38, 50)), (radius,) * 3), rng.uniform(5, 45), 2.5)
    _draw_bladder(canvas, tissues, rng, centre, fill)
    stool = rng.uniform(-40, 60) if rng.random() < 0.6 else rng.uniform(60, 400)
    size = rng.uniform(10, 32)
    parts = [ellipsoid((z, y, rng.uniform(-5, 5)), np.array([22, size * 0.9, size])) for z, y in
             ((225, 30), (245, 34), (265, 30))]
    parts.append(ellipsoid((288, 22, 0), (18, 11, 11)))
    gas = 30 - size * rng.uniform(-0.5, 0.8) if rng.random() < 0.5 else None
    fill_hollow(canvas, parts, 3.5, tissues.gut_wall,
                lambda drawn: stool + 15 * canvas.texture(drawn.window, 4.0), gas, 3.0)


def _draw_bladder(canvas, tissues, rng, centre, fill):
    radii = np.array([34, 30, 40]) * (0.5 + 0.6 * fill)
    bladder = lumpy(rng, ellipsoid(centre, radii, tilted(rng, 0.15)), 1.5, 40.0)
    urine = max(tissues.urine * 0.6, 0) + rng.uniform(-4, 12)
    dense = tissues.phase in ("excretory", "nephrographic") or rng.random() < 0.06
    settled = rng.uniform(120, 1500) if dense else None
    layer = centre[1] + radii[1] * rng.uniform(-0.8, 0.8)
    catheter = rng.random() < 0.08

    def value(drawn):
        if settled is None:
            return urine
        return urine + edge(canvas.along_y(drawn) - np.float32(layer), 8.0) * np.float32(settled)

    canvas.paint(bladder, tissues.gut_wall - 10, 3.0)
    canvas.paint(shrunk(bladder, rng.uniform(2, 5)), value, 3.0)
    if catheter:
        canvas.paint(ellipsoid(np.add(centre, (15, 0, 0)), (11, 11, 11)), 250.0, 2.0)
        canvas.paint(ellipsoid(np.add(centre, (15, 0, 0)), (10, 10, 10)), -5.0, 2.0)
