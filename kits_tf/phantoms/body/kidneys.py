"""Plans a patient's kidneys: number, positions, orientation and shapes.

In: a random generator and the Patient. Out: Kidneys as shapes in the patient's frame (mm); parenchyma.py draws them.
Usual kidneys are 90 to 125 mm long, the right one lower, upper poles nearer to the spine, lower poles farther forward.
"""

import dataclasses

import numpy as np

from kits_tf.phantoms import kidneys as abdomen_kidneys
from kits_tf.phantoms.body.patient import Patient, psoas
from kits_tf.phantoms.body.shapes import waves
from kits_tf.phantoms.drawing import Shape, tube

USUAL, SINGLE, SMALL, PTOTIC, MALROTATED, PELVIC, HORSESHOE, NONE = (
    "usual", "single", "one small", "ptotic", "malrotated", "pelvic", "horseshoe", "none")
LAYOUTS = (USUAL, SINGLE, SMALL, PTOTIC, MALROTATED, PELVIC, HORSESHOE, NONE)
SHARES = (0.69, 0.07, 0.05, 0.04, 0.05, 0.03, 0.05, 0.02)


@dataclasses.dataclass(frozen=True)
class Kidney(abdomen_kidneys.Kidney):
    """One kidney.

    Attributes:
        hollow: size of the sinus; 1 is average.
    """

    hollow: float


def room(patient: Patient, side: int = 0) -> Shape:
    """Returns the space for kidneys and tumors: inside the wall, below the lungs, outside spine and psoas.

    `side` is -1 right, 1 left, 0 for both sides.
    """
    def level(z, y, x):
        spine = 31 - np.hypot(y * 0.85, x)
        outside = np.maximum(np.maximum(patient.cavity(z, y, x) + 3, spine), 0.75 * (patient.dome(y, x) + 8 - z))
        for psoas_side in (-1, 1):
            outside = np.maximum(outside, 1.5 - psoas(patient, psoas_side, z, y, x))
        return np.maximum(outside, 4 - side * x) if side else outside

    return Shape((-700.0, -400.0, -400.0), (700.0, 400.0, 400.0), level)


def plan_kidneys(rng: np.random.Generator, patient: Patient) -> tuple[str, list[Kidney], list[Shape]]:
    """Chooses the layout and the shape of each kidney.

    Returns:
        (layout, kidneys, bridges): bridges are the parenchyma that joins the two halves of a horseshoe kidney.
    """
    layout = str(rng.choice(LAYOUTS, p=SHARES))
    if layout == NONE:
        return layout, [], []
    size = rng.uniform(0.84, 1.12)
    odd = int(rng.choice([-1, 1]))
    kidneys = []
    for side in (-1, 1):
        own = size * rng.uniform(0.94, 1.06)
        kind = layout if layout == HORSESHOE or side == odd else USUAL
        if layout == SINGLE:
            if side == odd:
                continue
            own *= rng.uniform(1.0, 1.15)
        if kind == SMALL:
            own *= rng.uniform(0.55, 0.8)
        kidneys.append(_kidney(rng, patient, side, own, kind))
    bridges = _bridges(rng, patient, kidneys) if layout == HORSESHOE else []
    return layout, kidneys, bridges


def _kidney(rng, patient, side, size, kind):
    radii = np.array([rng.uniform(47, 60), rng.uniform(21, 28), rng.uniform(25, 32)]) * size
    spread = np.clip((patient.half_width_mm - 105) / 45, 0, 1.2)
    centre = np.array([(rng.normal(14, 10) if side < 0 else rng.normal(0, 10)),
                       rng.uniform(2, 13) + 3 * spread, side * (rng.uniform(56, 65) + 7 * spread)])
    tilt, forward = rng.uniform(0.08, 0.32), rng.uniform(0.05, 0.4)
    facing = rng.uniform(0.25, 0.95)  # radians by which the hilum turns forward from the midline
    if kind == PTOTIC:
        centre += (rng.uniform(35, 75), -rng.uniform(0, 12), side * rng.uniform(-4, 8))
    elif kind == MALROTATED:
        facing = rng.choice([rng.uniform(1.2, 2.6), rng.uniform(-0.9, 0.0)])
    elif kind == PELVIC:
        centre = np.array([rng.uniform(135, 185), -rng.uniform(20, 32), side * rng.uniform(20, 42)])
        tilt, forward, facing = rng.normal(0, 0.5), rng.normal(0.2, 0.3), rng.uniform(0.8, 2.2)
    elif kind == HORSESHOE:
        centre += (18, -8, side * -6)
        radii[0] *= 0.92
        tilt, forward, facing = rng.uniform(-0.4, -0.2), rng.uniform(0.25, 0.45), rng.uniform(1.0, 1.5)
    along = np.array([1, -forward, side * tilt])
    along /= np.linalg.norm(along)
    # `facing` turns the hilum forward from the midline, so the outer border turns back by the same angle.
    outward = np.array([0, np.sin(facing), side * np.cos(facing)])
    outward -= (outward @ along) * along
    outward /= np.linalg.norm(outward)
    back = -np.cross(along, outward) * side
    axes = np.stack([along, back, outward])
    bumps, lobes = waves(rng, 30.0), waves(rng, 17.0)
    lobed = rng.uniform(0, 0.5) if rng.random() < 0.7 else rng.uniform(0.6, 1.8)
    rough = rng.uniform(0.4, 1.8)
    bend, power = rng.uniform(3, 10) * size, rng.uniform(2.0, 2.7)
    mean_radius = np.float32(radii[1:].mean())
    limit = room(patient, side)
    hump = rng.uniform(2, 7) if side > 0 and rng.random() < 0.15 else 0.0
    hollow = rng.uniform(0.55, 1.45)
    notches = _notches(rng, radii)
    reach = np.full(3, radii[0] + 10)

    def own(z, y, x):
        offsets = [part - np.float32(middle) for part, middle in zip((z, y, x), centre, strict=True)]
        return [sum(part * np.float32(weight) for part, weight in zip(offsets, row, strict=True)) for row in axes]

    def bean(z, y, x):
        a, b, c = own(z, y, x)
        lengthwise = a / np.float32(radii[0])
        bent = c + np.float32(bend) * (lengthwise**2 - 0.3)  # the poles curve to the midline
        total = (np.abs(lengthwise) ** power + (b / np.float32(radii[1])) ** 2 + (bent / np.float32(radii[2])) ** 2)
        level = (np.sqrt(total) - 1) * mean_radius + rough * bumps(z, y, x) + lobed * lobes(z, y, x)
        if hump:
            level = level - hump * np.exp(-((lengthwise / 0.35) ** 2)) * (c > 0)
        for place, size_mm in notches:
            level = np.maximum(level, size_mm - np.sqrt(sum((part - at) ** 2 for part, at in
                                                            zip((a, b, c), place, strict=True))))
        return np.maximum(level, limit.level(z, y, x))

    arms = [(rng.uniform(-0.62, 0.62), rng.uniform(-0.42, 0.42), rng.uniform(-0.15, 0.22)) for _ in range(8)]
    widths = rng.uniform(2.2, 4.6, 8) * hollow * size

    def sinus(z, y, x):
        a, b, c = own(z, y, x)
        main = np.sqrt((a / (0.5 * hollow * radii[0])) ** 2 + (b / (0.36 * hollow * radii[1] + 2)) ** 2
                       + ((c + 0.78 * radii[2]) / ((0.55 + 0.16 * hollow) * radii[2])) ** 2)
        level = (main - 1) * np.float32(9.0)
        for arm, width in zip(arms, widths, strict=True):
            start = np.array([0.45 * arm[0], 0.3 * arm[1], -0.6]) * radii
            stop = np.array(arm) * radii
            level = np.minimum(level, tube(start, stop, float(width) * 1.3, float(width) * 0.7).level(a, b, c))
        return level + 0.5 * lobes(z, y, x)

    outline = Shape(tuple(centre - reach), tuple(centre + reach), bean)
    shape = Shape(outline.low_mm, outline.high_mm, sinus)
    return Kidney(side, centre, radii, axes, outline, outline.cut(lambda *at: -shape.level(*at)), shape, hollow)


def _notches(rng, radii):
    """Returns balls to cut off for scars and partial resection: (center in the kidney's own axes, radius), in mm."""
    found = []
    if rng.random() < 0.15:
        for _ in range(int(rng.integers(1, 4))):
            around, along = rng.uniform(-1.9, 1.9), rng.uniform(-0.8, 0.8)
            size = rng.uniform(7, 16)
            girth = np.sqrt(1 - along**2)
            surface = np.array([along, girth * np.sin(around), girth * np.cos(around)]) * radii
            found.append((surface * (1 + (size - rng.uniform(3, 8)) / np.linalg.norm(surface)), size))
    if rng.random() < 0.05:
        pole = rng.choice([-1, 1])
        found.append((np.array([pole * radii[0] * rng.uniform(0.9, 1.1), 0, rng.uniform(0, 12)]), rng.uniform(22, 34)))
    return found


def _bridges(rng, patient, kidneys):
    poles = [kidney.place(0.75, 0.0, 0.0) for kidney in kidneys]
    middle = np.array([np.mean([pole[0] for pole in poles]) + rng.uniform(0, 8), -rng.uniform(50, 56), 0.0])
    size = rng.uniform(8, 13)
    limit = room(patient)
    return [tube(pole, middle, size + 6, size).cut(limit.level) for pole in poles]
