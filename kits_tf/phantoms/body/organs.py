"""Draws the solid organs of the upper abdomen, gallbladder and stomach, with lesions of liver and spleen.

In: a Canvas with body and bowel, the Patient and its Tissues. Kidneys are drawn later.
"""

import numpy as np

from kits_tf.phantoms.body.canvas import Canvas, textured
from kits_tf.phantoms.body.patient import Patient
from kits_tf.phantoms.body.shapes import fill_hollow, inside, joined, lumpy, shrunk, tilted, waves
from kits_tf.phantoms.body.tissues import Tissues, shift
from kits_tf.phantoms.drawing import Shape, ellipsoid, tube


def draw_organs(canvas: Canvas, patient: Patient, tissues: Tissues, rng: np.random.Generator) -> list[str]:
    """Paints stomach, liver, spleen, pancreas, adrenals; returns findings worth noting."""
    notes: list[str] = []
    _draw_stomach(canvas, patient, tissues, rng)
    _draw_pancreas(canvas, patient, tissues, rng)
    _draw_spleen(canvas, patient, tissues, rng, notes)
    _draw_liver(canvas, patient, tissues, rng, notes)
    _draw_adrenals(canvas, tissues, rng)
    return notes


def _draw_lesions(canvas, rng, organ_shape, count, hu, largest_mm, notes, organ):
    """Draws round lesions inside an organ (cysts, metastases, hemangiomas), some with a rim; adds a note."""
    low, high = np.array(organ_shape.low_mm), np.array(organ_shape.high_mm)
    drawn = 0
    for _ in range(count * 6):
        centre = rng.uniform(low, high)
        radius = float(np.clip(rng.lognormal(np.log(7), 0.7), 2.5, largest_mm))
        if inside(organ_shape, centre) < 0.5 * radius:
            continue
        value = rng.uniform(*hu)
        shape = lumpy(rng, ellipsoid(centre, radius * rng.uniform(0.85, 1.2, 3)), 0.07 * radius, radius * 0.8).cut(
            lambda *at: organ_shape.level(*at) + 1)
        if rng.random() < 0.3:
            canvas.paint(shape, value + rng.uniform(-60, 60), max(1.5, radius * 0.3))
            shape = shrunk(shape, 0.25 * radius)
        canvas.paint(shape, value, max(1.5, radius * 0.3), soft_mm=rng.uniform(0, 3))
        drawn += 1
        if drawn >= count:
            break
    if drawn:
        notes.append(f"{drawn} lesions of the {organ}")


def _draw_liver(canvas, patient, tissues, rng, notes):
    width, front = patient.half_width_mm, patient.front_mm
    tip = rng.normal(28, 26)
    if rng.random() < 0.07:
        tip += rng.uniform(30, 80)  # Riedel's lobe or a large liver
    resected = rng.random() < 0.06
    top = patient.dome_mm - 25
    right = ellipsoid(((tip + top) / 2, -0.30 * front + 4, -max(width - 58, 50)),
                      ((tip - top) / 2, (front + patient.back_mm) / 2 + 12, 66 + 0.1 * (width - 105)))
    reach = rng.uniform(-10, 60)
    inner, face = rng.uniform(-8, 22), waves(rng, 70.0)
    left = ellipsoid((patient.dome_mm + rng.uniform(35, 60), -front * 0.62, reach * 0.4),
                     (48, 0.5 * front + 14, 60 + reach))
    fossa = (tip - 35, -0.62 * front, -0.55 * width)

    def level(z, y, x):
        spine = 38 - np.hypot((y - 6) * 0.8, x - 10)
        behind = 0.6 * (y - 22 - 0.5 * np.maximum(-x - 40, 0))  # the bare area leaves space for kidney and adrenal
        body = right.level(z, y, x) if not resected else np.maximum(right.level(z, y, x), 0.7 * (-40 - y + 0.4 * x))
        # The right lobe gets narrower downward, with an uneven surface.
        body = np.maximum(body, 0.7 * (x + inner + 0.7 * np.clip(z + 45, 0, 75) + 7 * face(z, y, x)))
        lobe = np.maximum(left.level(z, y, x), 0.7 * (y + 26 - 0.15 * x))
        join = np.clip(0.5 + (lobe - body) / 50, 0, 1)  # a smooth union: no deep cleft between the lobes
        whole = lobe + join * (body - lobe) - 25 * join * (1 - join)
        return np.maximum(np.maximum(np.maximum(whole, patient.abdomen(z, y, x)), spine), behind)

    low, high = np.minimum(right.low_mm, left.low_mm), np.maximum(right.high_mm, left.high_mm)
    liver = Shape(tuple(low), tuple(high), level)
    fatty = rng.uniform(0, 12) if rng.random() < 0.25 else 0.0
    grain = textured(canvas, tissues.liver, 2.5 * tissues.grain, rng.uniform(2, 5))

    def value(drawn):
        hu = grain(drawn)
        if fatty:
            hu += canvas.field(drawn, rng, 35.0) * np.float32(fatty)
        return hu

    canvas.paint(liver, value, 4.0)
    if resected:
        notes.append("liver resected")
    hilum = np.array([-48.0, -34.0, -34.0])
    within = shrunk(liver, 6.0)
    late = tissues.vein if tissues.phase not in ("arterial", "late_arterial") else tissues.liver - 5
    top_vein = (patient.dome_mm + 18, -18, -24)
    trees = [((-50, -34, -30), (-62, -0.55 * front, -12), (-58, -0.8 * front, 25), 4.5, tissues.portal)]
    for _ in range(6):
        trees.append((hilum, hilum + rng.normal((-15, -12, -25), (14, 16, 10)),
                      hilum + rng.normal((-25, -20, -62), (34, 32, 14)), rng.uniform(4, 6), tissues.portal))
    for lateral in (-95, -60, -20):
        trees.append((top_vein, (-80, -0.35 * front, lateral * 0.7), (-50, -0.5 * front, lateral), 4.5, late))
    for start, middle, stop, thick, hu in trees:
        canvas.paint(tube(start, middle, thick, thick * 0.6).cut(within.level), hu, 2.0)
        canvas.paint(tube(middle, stop, thick * 0.6, 1.2).cut(within.level), hu, 2.0)
    if rng.random() < 0.35:
        _draw_lesions(canvas, rng, liver, int(rng.integers(1, 9)), (-5, 40) if rng.random() < 0.6 else (20, 180), 45.0,
                      notes, "liver")
    if rng.random() < 0.82:  # gallbladder
        stones = rng.random() < 0.15
        size = rng.uniform(9, 19)
        long = rng.uniform(16, 38)
        axes = tilted(rng, 0.5)
        bladder = ellipsoid(fossa, (long, size, size), axes).cut(patient.abdomen)
        canvas.paint(bladder, tissues.gut_wall, 2.5)
        content = tissues.bile if rng.random() < 0.9 else rng.uniform(60, 250)  # vicarious excretion, sludge
        canvas.paint(shrunk(bladder, 1.8), content, 2.5)
        if stones:
            for _ in range(3):
                canvas.paint(ellipsoid(np.add(fossa, (rng.uniform(-9, 9), size * 0.5, 0)), rng.uniform(1.5, 5, 3)),
                             rng.uniform(60, 600), 1.5)


def _draw_spleen(canvas, patient, tissues, rng, notes):
    if rng.random() < 0.04:
        notes.append("no spleen")
        return
    big = rng.random() < 0.12
    grow = rng.uniform(1.3, 1.9) if big else rng.uniform(0.75, 1.2)
    long = 50 * grow
    centre = np.array([patient.dome_mm + 22 + long, 14 - 0.12 * patient.front_mm,
                       patient.half_width_mm - 24 * grow**0.5])
    outer = ellipsoid(centre, (long, 46 * grow**0.7, 30 * grow**0.6), tilted(rng, 0.25))
    own = rng.spawn(1)[0]
    if own.random() < 0.45:  # a tongue that runs down beside the kidney, as wide as a kidney in cross-section
        stop = own.uniform(-15, 75), own.uniform(-25, 22), patient.half_width_mm - own.uniform(12, 40)
        outer = joined(outer, tube(centre, stop, own.uniform(22, 32), own.uniform(9, 18)))
    hollow = ellipsoid(np.add(centre, (6, -26, -30)), (long * 1.2, 30, 24))
    shape = lumpy(rng, outer, 2.0, 24.0).cut(lambda *at: np.maximum(np.maximum(
        patient.abdomen(*at) + 1, -hollow.level(*at)), 34 - np.hypot(at[1], at[2])))
    if big:
        notes.append("big spleen")
    moire = 28.0 if tissues.phase == "arterial" else 0.0
    grain = textured(canvas, tissues.spleen, 2.5 * tissues.grain, 3.0)
    canvas.paint(shape, lambda drawn: grain(drawn) + (moire * canvas.field(drawn, rng, 11.0) if moire else 0), 3.0)
    if rng.random() < 0.12:
        _draw_lesions(canvas, rng, shape, 2, (0, 90), 22.0, notes, "spleen")
    if rng.random() < 0.25:  # accessory spleens
        radius = rng.uniform(4, 10)
        canvas.paint(ellipsoid(np.add(centre, (rng.uniform(10, 40), -30, -34)), (radius,) * 3), tissues.spleen, 2.0)


def _draw_pancreas(canvas, patient, tissues, rng):
    depth = -0.32 * patient.front_mm - 16
    low = rng.uniform(-14, 10)
    course = [(low + 22, depth + 2, -34), (low + 4, depth - 6, -24), (low - 10, depth - 12, -2),
              (low - 20, depth - 6, 26), (low - 30, -16, 54), (low - 38, -4, 74)]
    size = rng.uniform(7.5, 12)
    fatty = rng.uniform(0, 1.3)

    def value(drawn):
        fat = np.clip(canvas.texture(drawn.window, 2.2) + np.float32(fatty - 1.3), 0, 1)
        return tissues.pancreas + fat * np.float32(tissues.fat - tissues.pancreas)

    canvas.tubes([np.add(point, (3, 8, 0)) for point in course[2:]], 3.8, tissues.portal)  # splenic vein
    canvas.tubes([np.add(point, rng.normal(0, 2, 3)) for point in course],
                 [size * part for part in (1.0, 1.25, 0.85, 0.95, 0.95, 0.7)], value)


def _draw_stomach(canvas, patient, tissues, rng):
    front = patient.front_mm
    fill = rng.uniform(0.35, 1.1)
    wide = 12 + 24 * fill
    points = [(patient.dome_mm + 36, -8, 58), (-78, -0.3 * front, 62), (-50, -0.55 * front, 52),
              (-22 + 20 * fill, -0.66 * front, 22), (-18, -0.55 * front, -16), (-12, -0.42 * front, -30)]
    points = [np.add(point, rng.normal(0, 5, 3)) for point in points]
    radii = np.array([0.95, 1.1, 1.0, 0.75, 0.5, 0.35]) * wide
    content = rng.choice([rng.uniform(-10, 60), rng.uniform(100, 900), rng.uniform(10, 30)], p=[0.55, 0.25, 0.2])
    gas_y = (-0.45 * front + rng.uniform(-30, 10)) if rng.random() < 0.7 else None
    wall = rng.uniform(3, 7)
    lumps = rng.uniform(0, 30)
    parts = [tube(start, stop, first, last).cut(patient.abdomen) for start, stop, first, last in
             zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)]
    fill_hollow(canvas, parts, wall, tissues.gut_wall,
                lambda drawn: np.float32(content) + np.float32(lumps) * canvas.texture(drawn.window, 5.0), gas_y, 3.5)


def _draw_adrenals(canvas, tissues, rng):
    hu = shift((tissues.cortex + tissues.spleen) / 2.5 if tissues.phase != "native" else 25, rng, 10)
    for side in (-1, 1):
        top = np.array([-48.0, -4.0, side * 28.0])
        thick = rng.uniform(1.8, 3.6)
        for y, x in ((16, 14), (20, 4)):
            canvas.tubes([top, np.add(top, (22, y, side * x))], [thick, thick * 0.8], hu)
        if rng.random() < 0.08:  # adenoma
            canvas.paint(ellipsoid(np.add(top, (14, 8, side * 6)), rng.uniform(6, 18, 3)), rng.uniform(-10, 80), 2.0)
