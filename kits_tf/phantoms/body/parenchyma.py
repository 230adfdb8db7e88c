"""Draws kidneys and their labels: perirenal fat with fascia and septa, sinus, cortex and pyramids.

Sinus, collecting system and vessels stay background, as in KiTS19's masks.
"""

import numpy as np

from kits_tf import labels
from kits_tf.phantoms.body import urinary
from kits_tf.phantoms.body.canvas import Canvas
from kits_tf.phantoms.body.kidneys import Kidney, room
from kits_tf.phantoms.body.patient import Patient
from kits_tf.phantoms.body.shapes import waves
from kits_tf.phantoms.body.tissues import Tissues
from kits_tf.phantoms.drawing import Shape, ellipsoid


def draw_perirenal(canvas: Canvas, patient: Patient, tissues: Tissues, kidneys: list[Kidney],
                   rng: np.random.Generator) -> None:
    """Draws the fat around all kidneys, with fascia around it and septa in it; call it before drawing any kidney."""
    limit = room(patient)
    for kidney in kidneys:
        halo = patient.perirenal_mm
        uneven = waves(rng, 60.0)
        low, high = np.subtract(kidney.outline.low_mm, halo * 1.6), np.add(kidney.outline.high_mm, halo * 1.6)
        behind = rng.uniform(0.2, 0.6)

        def level(z, y, x, kidney=kidney, halo=halo, uneven=uneven, behind=behind):
            grown = halo * (1 + 0.3 * uneven(z, y, x) + behind * np.clip((y - kidney.centre_mm[1]) / 30, -1, 1)
                            + 0.3 * np.clip((z - kidney.centre_mm[0]) / 50, -1, 1))
            return np.maximum(kidney.outline.level(z, y, x) - grown, limit.level(z, y, x) - 2.5)

        space = Shape(tuple(low), tuple(high), level)
        if halo > 3 and rng.random() < 0.8:
            canvas.paint(Shape(space.low_mm, space.high_mm, lambda *at, level=level: level(*at) - 1.0), tissues.muscle,
                         3.0, share=rng.uniform(0.3, 0.9))
        stranding = rng.uniform(0, 9) if rng.random() < 0.8 else rng.uniform(10, 30)
        sheets = waves(rng, rng.uniform(18, 40))
        strength = rng.uniform(0, 60)

        def value(drawn, sheets=sheets, stranding=stranding, strength=strength):
            fat = tissues.fat + 3 + stranding * canvas.texture(drawn.window, 2.5)
            if strength > 20:  # bridging septa, where a random field is zero
                places, tables = canvas.positions(drawn.window, 3.0)
                sheet = np.clip(1 - np.abs(canvas.spread(sheets(*places), tables)) / 0.09, 0, 1)
                fat = fat + np.float32(strength) * sheet
            return fat

        canvas.paint(space, value, 3.0)


def draw_kidney(canvas: Canvas, tissues: Tissues, kidney: Kidney, rng: np.random.Generator) -> list[str]:
    """Draws sinus, parenchyma, pyramids and collecting system of one kidney; returns findings."""
    canvas.paint(kidney.sinus.cut(lambda *at: kidney.outline.level(*at) - 3),
                 lambda drawn: (tissues.fat + np.float32(12 / kidney.hollow)
                                + 10 * canvas.texture(drawn.window, 2.0)), 2.0)
    urinary.draw_vessels(canvas, tissues, kidney, rng)
    # The cortex enhances unevenly in some patients: infarcts, infection, striation.
    patchy = rng.uniform(8, 40) if tissues.phase != "native" and rng.random() < 0.12 else 0.0
    patches = waves(rng, rng.uniform(16, 45))
    grain = rng.uniform(1, 5) * tissues.grain

    def value(drawn):
        hu = tissues.cortex + np.float32(grain) * canvas.texture(drawn.window, 2.0)
        if patchy:
            places, tables = canvas.positions(drawn.window, 4.0)
            hu -= np.float32(patchy) * np.maximum(canvas.spread(patches(*places), tables), 0)
        return hu

    canvas.paint(kidney.body, value, 2.0, label=labels.KIDNEY)
    if abs(tissues.cortex - tissues.medulla) > 4:
        _draw_pyramids(canvas, tissues, kidney, rng)
    return urinary.draw_collecting_system(canvas, tissues, kidney, rng)


def draw_bridge(canvas: Canvas, tissues: Tissues, shape: Shape) -> None:
    """Draws the isthmus of a horseshoe kidney, labeled kidney."""
    canvas.paint(shape, tissues.cortex - 0.3 * (tissues.cortex - tissues.medulla), 2.5, label=labels.KIDNEY)


def _draw_pyramids(canvas, tissues, kidney, rng):
    """Draws the medulla: pyramids between cortex and sinus, with columns of cortex between them."""
    cortex_mm = rng.uniform(4.5, 8.0) * kidney.radii_mm[1] / 24

    def inside(z, y, x):
        return np.maximum(kidney.outline.level(z, y, x) + cortex_mm, 0.8 - kidney.sinus.level(z, y, x))

    pyramids = []
    for along in np.linspace(-0.68, 0.68, int(rng.integers(5, 8))):
        girth = np.sqrt(1 - along**2)
        angles = (-1.5, -0.55, 0.55, 1.5) if abs(along) < 0.6 else (-0.9, 0.9)
        for around in angles:
            if rng.random() < 0.08:
                continue  # a large column
            around = around + rng.normal(0, 0.15)
            place = kidney.place(along + rng.normal(0, 0.03), 0.56 * girth * np.sin(around),
                                 0.56 * girth * np.cos(around))
            radii = np.array([7.0, 7.6, 8.4]) * kidney.radii_mm[1] / 24 * rng.uniform(0.85, 1.15, 3)
            pyramids.append(ellipsoid(place, radii, kidney.axes))

    def level(*at):
        nearest = np.float32(100.0)
        for pyramid in pyramids:
            nearest = np.minimum(nearest, pyramid.level(*at))
        return np.maximum(nearest, inside(*at))

    # The border is sharp in the arterial phase and fades as the medulla fills.
    soft = float(np.clip(6 - 0.06 * abs(tissues.cortex - tissues.medulla), 0.5, 6))
    canvas.paint(Shape(kidney.outline.low_mm, kidney.outline.high_mm, level), tissues.medulla, 1.6, soft_mm=soft)
