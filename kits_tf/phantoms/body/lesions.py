"""Draws tumors and cysts of the kidneys.

Tumors are solid, cystic, necrotic, bright or dark, with a sharp or an infiltrating edge, from 5 mm in diameter to more
than one liter, anywhere from the surface to the sinus. Some have lobes that differ in contents. Cysts of any density
are labeled kidney.
"""

import numpy as np

from kits_tf import labels
from kits_tf.phantoms.body.canvas import Canvas
from kits_tf.phantoms.body.kidneys import Kidney, room
from kits_tf.phantoms.body.patient import Patient
from kits_tf.phantoms.body.shapes import inside, lumpy, shrunk, tilted, waves
from kits_tf.phantoms.body.tissues import Tissues
from kits_tf.phantoms.drawing import Shape, edge, ellipsoid

SPREAD_HU = {"solid": 3.0, "mixed": 24.0, "necrotic": 10.0, "cystic": 4.0, "bright": 12.0}
WITH_TUMOR = 0.6  # default share of the patients with kidneys


def draw_cysts(canvas: Canvas, patient: Patient, tissues: Tissues, kidneys: list[Kidney],
               rng: np.random.Generator) -> int:
    """Draws cortical cysts, simple and dense, some with a calcified wall.

    Returns the number of planned cysts, which includes those skipped because they would not touch the kidney.
    """
    count = int(rng.poisson(1.2)) if rng.random() < 0.55 else 0
    if rng.random() < 0.025:
        count = int(rng.integers(25, 50))  # polycystic
    for _ in range(count):
        kidney = kidneys[int(rng.integers(len(kidneys)))]
        radius = float(np.clip(rng.lognormal(np.log(8.0), 0.6), 2.0, 45.0))
        position, outward = _spot(rng, kidney)
        centre = position + outward * radius * rng.uniform(-0.9, 0.5)
        if inside(kidney.outline, centre) < -0.6 * radius:
            continue
        shape = ellipsoid(centre, radius * rng.uniform(0.9, 1.1, 3)).cut(_limit(patient, kidney, radius).level)
        dense = rng.random() < 0.2
        value = rng.uniform(35, 100) if dense else rng.uniform(-5, 25)
        if rng.random() < 0.1:
            canvas.paint(shape, rng.uniform(100, 500), max(1.2, radius / 4), label=labels.KIDNEY)
            canvas.paint(shrunk(shape, 1.0), value, max(1.2, radius / 4), label=labels.KIDNEY)
        else:
            canvas.paint(shape, value, max(1.2, radius / 4), label=labels.KIDNEY)
    return count


def draw_tumors(canvas: Canvas, patient: Patient, tissues: Tissues, kidneys: list[Kidney],
                rng: np.random.Generator, share: float = WITH_TUMOR) -> list[dict]:
    """Draws the tumors of one patient, with probability `share` one or more.

    Returns one dict per tumor in the scan: kind, where, diameter_mm, hu (mean), infiltrating, and lobes if it has any.
    """
    if rng.random() > share:
        return []
    drawn = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.8, 0.15, 0.05]))):
        kidney = kidneys[int(rng.integers(len(kidneys)))]
        drawn.append(_draw_tumor(canvas, patient, tissues, kidney, rng))
    return [tumor for tumor in drawn if tumor]


def _spot(rng, kidney):
    """Draws a point on the kidney's surface away from the hilum; returns it as Kidney.surface does."""
    return kidney.surface(rng.uniform(-0.9, 0.9), rng.uniform(-2.1, 2.1))


def _limit(patient, kidney, radius):
    """Returns the space for a lesion; a radius of 40 mm or more may cross the midline and displace the psoas."""
    if radius < 40:
        return room(patient, kidney.side if abs(kidney.centre_mm[2]) > 45 else 0)
    return Shape((-700.0,) * 3, (700.0,) * 3, lambda z, y, x: np.maximum(
        patient.abdomen(z, y, x) + 1, 27 - np.hypot(y * 0.85, x)))


def _centre(rng, kidney, radius, limit, where):
    """Returns a center with space for most of the tumor."""
    if where == "sinus":
        return kidney.place(rng.uniform(-0.4, 0.4), rng.uniform(-0.2, 0.2), rng.uniform(-0.7, -0.2))
    centre = kidney.centre_mm
    for _ in range(25):
        position, outward = _spot(rng, kidney)
        depth = rng.uniform(-1.2, -0.5) if where == "within" else rng.uniform(-0.4, 0.55)
        centre = position + outward * radius * (depth if radius < 30 else rng.uniform(-0.3, 0.5))
        attached = inside(kidney.outline, centre) > -0.6 * radius  # scars and neighbors cut the outline
        if attached and inside(limit, centre) > (0.9 if radius < 10 else 0.45) * radius:
            break
    return centre


def _mean(rng, tissues, kind):
    """Returns the mean HU of viable tumor; with contrast medium from barely enhancing to brighter than cortex."""
    kidney = (tissues.cortex + tissues.medulla) / 2
    if tissues.phase == "native" or kidney < 60:
        return kidney + rng.uniform(-14, 22)
    low = rng.uniform(35, 60)
    mean = low + (tissues.cortex - low) * (rng.uniform(0.0, 0.85) if kind != "bright" else rng.uniform(0.6, 1.15))
    if abs(mean - kidney) < 14 and kind not in ("mixed", "necrotic"):  # an invisible tumor is useless for training
        mean = kidney - rng.uniform(14, 45)
    return mean


def _draw_tumor(canvas, patient, tissues, kidney, rng):
    diameter = float(np.clip(rng.lognormal(np.log(40), 0.62), 5, 110) if rng.random() < 0.85 else rng.uniform(80, 170))
    radius = diameter / 2
    where = str(rng.choice(["surface", "within", "sinus"], p=[0.62, 0.25, 0.13]))
    limit = _limit(patient, kidney, radius)
    centre = _centre(rng, kidney, radius, limit, where)
    drawn = _paint(canvas, tissues, rng, centre, radius, limit)
    lobes = 0
    if radius > 12 and rng.random() < 0.2:
        for _ in range(int(rng.integers(1, 4))):
            outward = rng.normal(size=3)
            middle = centre + outward / np.linalg.norm(outward) * radius * rng.uniform(0.8, 1.15)
            size = radius * rng.uniform(0.4, 0.9)
            if inside(limit, middle) > 0.4 * size:
                lobes += _paint(canvas, tissues, rng, middle, size, limit) is not None
    if drawn is None:
        return None
    return {**drawn, "where": where, "diameter_mm": round(diameter, 1), **({"lobes": lobes} if lobes else {})}


def _paint(canvas, tissues, rng, centre, radius, limit):
    """Paints one mass of tumor; returns its kind, hu and infiltrating, or None if it lies outside the scan."""
    kind = str(rng.choice(["solid", "mixed", "necrotic", "cystic", "bright"], p=[0.25, 0.32, 0.23, 0.1, 0.1]))
    infiltrating = rng.random() < 0.12
    shape = ellipsoid(centre, radius * rng.uniform(0.85, 1.18, 3), tilted(rng, 0.8))
    shape = lumpy(rng, shape, radius * rng.uniform(0.02, 0.14), radius * rng.uniform(0.7, 1.6)).cut(limit.level)
    mean = _mean(rng, tissues, kind)
    spread = SPREAD_HU[kind] * rng.uniform(0.6, 1.5)
    if tissues.phase == "native":
        spread = min(spread, 8.0)
    dead_share = rng.uniform(0.3, 0.75) if kind == "necrotic" else 0.0
    dead = rng.uniform(5, 38)
    fluid = rng.uniform(0, 30)
    fine, coarse = waves(rng, max(radius * 0.5, 4.0)), waves(rng, max(radius * 0.9, 6.0))
    wall = rng.uniform(2, 6)
    septum = rng.uniform(0.05, 0.2)

    def value(drawn):
        places, tables = canvas.positions(drawn.window, max(1.5, radius / 8))
        small, large = (canvas.spread(part(*places), tables) for part in (fine, coarse))
        hu = np.float32(mean) + np.float32(spread * 0.6) * small + np.float32(spread * 0.5) * large
        hu += 2 * np.float32(tissues.grain) * canvas.texture(drawn.window, 2.0)
        depth = -drawn.level / np.float32(radius)
        if kind == "necrotic":
            hu += edge(depth - np.float32(1 - dead_share) + 0.25 * large, 0.15) * (np.float32(dead) - hu)
        elif kind == "cystic":
            hollow = edge(-drawn.level - np.float32(wall), 2.0) * (np.abs(small) > septum)
            hu += hollow * (np.float32(fluid) - hu)
        return hu

    step = float(np.clip(radius / 5, 1.0, 3.0))
    drawn = canvas.paint(shape, value, step, soft_mm=rng.uniform(4, 10) if infiltrating else 0.0, label=labels.TUMOR)
    if rng.random() < 0.12:  # calcification
        for _ in range(int(rng.integers(1, 7))):
            spot = centre + rng.normal(0, 0.4, 3) * radius
            if inside(shape, spot) > 1:
                canvas.paint(ellipsoid(spot, rng.uniform(0.8, 3.5, 3)), rng.uniform(150, 900), 1.2)
    if drawn is None or not (canvas.labels[drawn.window] == labels.TUMOR).any():
        return None  # outside the scan
    return {"kind": kind, "hu": round(mean), "infiltrating": bool(infiltrating)}
