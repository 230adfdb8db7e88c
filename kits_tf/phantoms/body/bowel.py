"""Draws mesentery, small bowel and colon: empty, or with fluid, gas, stool or oral contrast medium of any density.

In: a Canvas with the frame, changed in place. Small-bowel loops follow random paths in the front of the cavity; a
packed cavity has many loops and hardly any fat between them.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from kits_tf.phantoms.body.canvas import Canvas
from kits_tf.phantoms.body.patient import Patient
from kits_tf.phantoms.body.shapes import fill_hollow
from kits_tf.phantoms.body.tissues import Tissues
from kits_tf.phantoms.drawing import ellipsoid, tube


def draw_bowel(canvas: Canvas, patient: Patient, tissues: Tissues, rng: np.random.Generator,
               fossa: Sequence[int] = ()) -> str:
    """Paints mesentery and bowel.

    Args:
        canvas: a Canvas with the frame.
        patient: the Patient.
        tissues: the patient's Tissues.
        rng: NumPy random generator.
        fossa: sides (-1 right, 1 left) without a kidney, where loops may lie.

    Returns:
        The bowel's content: "water", "oral contrast" or "mixed".
    """
    oral = str(rng.choice(["water", "oral contrast", "mixed"], p=[0.55, 0.25, 0.2]))
    _draw_mesentery(canvas, patient, tissues, rng)
    _draw_small_bowel(canvas, patient, tissues, rng, oral, fossa)
    _draw_duodenum(canvas, patient, tissues, rng, oral)
    _draw_colon(canvas, patient, tissues, rng, oral)
    return oral


def _content(rng, oral):
    """Returns HU of the content of one loop."""
    if oral == "oral contrast" or (oral == "mixed" and rng.random() < 0.5):
        return float(rng.uniform(90, 380) if rng.random() < 0.8 else rng.uniform(380, 1200))
    return float(rng.uniform(0, 50))


def room(patient: Patient, point: np.ndarray) -> float:
    """Returns the distance from a point to the wall of the abdomen, in mm; negative outside."""
    z, y, x = np.asarray(point, np.float32)[:, None]
    return -float(patient.abdomen(z, y, x)[0])


def _draw_mesentery(canvas, patient, tissues, rng):
    """Draws vessels and nodes in the fat, from the mesenteric root in front of the spine to the loops."""
    front, width = patient.front_mm, patient.half_width_mm
    for _ in range(44):
        root = np.array([rng.uniform(0, 90), -34 - rng.uniform(0, 8), rng.uniform(-8, 14)])
        stop = rng.uniform((-10, -0.9 * front, -0.75 * width), (190, -0.4 * front, 0.75 * width))
        if room(patient, stop) < 3:
            continue
        middle = (root + stop) / 2 + rng.normal(0, 9, 3)
        vein = tissues.vein if rng.random() < 0.6 else tissues.artery
        canvas.tubes([root, middle, stop], [2.8, 2.0, 1.0], vein)
    for _ in range(rng.poisson(5)):
        place = (rng.uniform(0, 120), rng.uniform(-0.7 * front, -30), rng.uniform(-50, 50))
        canvas.paint(ellipsoid(place, rng.uniform(2, 7, 3)), tissues.gut_wall, 2.0)


def _draw_small_bowel(canvas, patient, tissues, rng, oral, fossa):
    """Draws loops in front, some as far back as kidney and psoas allow, and in the fossa of a missing kidney."""
    front, width = patient.front_mm, patient.half_width_mm
    wide = 1.6 if rng.random() < 0.08 else 1.0
    collapsed = rng.uniform(0.1, 0.6)
    low, high = np.array([-12.0, -0.92 * front, -0.82 * width]), np.array([225.0, -30.0, 0.82 * width])
    deep = np.array([225.0, 6.0, 0.82 * width])
    for _ in range(int(54 + 40 * patient.packed)):
        start, stop = rng.uniform(low, high), high
        if rng.random() < 0.35:
            start = rng.uniform((-30, -32, 0.35 * width), (150, 4, 0.8 * width)) * (1, 1, rng.choice([-1, 1]))
            stop = deep
        size = rng.uniform(6.5, 12.5) * wide
        _draw_loop(canvas, patient, tissues, rng, oral, start, (low, stop), size, rng.random() < collapsed)
    for side in fossa:
        for _ in range(int(rng.integers(0, 10))):
            start = rng.uniform((-30, -15, 45), (60, 20, 80)) * (1, 1, side)
            box = np.minimum((-50, -25, 40 * side), (-50, -25, 90 * side)), np.maximum((80, 25, 40 * side),
                                                                                        (80, 25, 90 * side))
            _draw_loop(canvas, patient, tissues, rng, oral, start, box, rng.uniform(8, 14), rng.random() < collapsed)


def _draw_loop(canvas, patient, tissues, rng, oral, start, box, size, empty):
    """Draws one loop along a random path inside a box."""
    place, heading = start, rng.normal(size=3)
    pieces = []
    for _ in range(int(rng.integers(4, 9))):
        heading = heading + rng.normal(0, 0.9, 3)
        heading /= np.linalg.norm(heading)
        stop = np.clip(place + heading * rng.uniform(12, 24), *box)
        first, last = (min(size, room(patient, point)) for point in (place, stop))
        if min(first, last) > 4:
            pieces.append(tube(place, stop, first, last * rng.uniform(0.85, 1.0)))
        place = stop
    wall = tissues.gut_wall + rng.normal(0, 10)
    gas = place[1] - rng.uniform(-4, 8) if rng.random() < 0.15 else None
    content, folds = _content(rng, oral), rng.uniform(0, 0.35)
    if empty:  # only wall, folds and a little content
        fill_hollow(canvas, pieces, 0.55 * size, wall, (wall + content) / 2, gas, 3.0)
        return

    def meal(drawn):
        return content + np.float32(folds * (wall - content)) * np.abs(canvas.texture(drawn.window, 2.5))

    fill_hollow(canvas, pieces, rng.uniform(1.2, 3.2), wall, meal, gas, 3.0)


def _draw_duodenum(canvas, patient, tissues, rng, oral):
    """Draws the duodenum: around the pancreatic head, between aorta and mesenteric vessels, to the first loop."""
    depth = -0.3 * patient.front_mm - 14
    course = [(-16, depth - 10, -34), (2, depth, -46), (30, depth + 6, -44), (46, -44, -24), (44, -46, 8),
              (24, -48, 28), (16, depth - 12, 44)]
    course = [np.add(point, rng.normal(0, 3, 3)) for point in course]
    size = rng.uniform(7, 13)
    parts = [tube(start, stop, size * rng.uniform(0.8, 1.15)) for start, stop in itertools.pairwise(course)]
    gas = depth - rng.uniform(-6, 6) if rng.random() < 0.25 else None
    fill_hollow(canvas, parts, rng.uniform(2, 4), tissues.gut_wall, _content(rng, oral), gas, 2.5)


def _draw_colon(canvas, patient, tissues, rng, oral):
    """Draws the colon: up the right flank, across the front, down the left flank, and in an S to the rectum."""
    front, width = patient.front_mm, patient.half_width_mm
    sag, behind = rng.uniform(5, 95), rng.uniform(-0.35, 0.1) * front
    bend_right, bend_left = rng.uniform(0, 30), rng.uniform(-65, -25)
    right = [(z, behind - 4, -(width - 24)) for z in np.arange(170, bend_right, -17)]
    share = np.linspace(0, 1, 15)
    across = [(bend_right + (bend_left - bend_right) * part + sag * np.sin(np.pi * part) - 10,
               -front + 24 + 34 * (2 * part - 1) ** 4, -(width - 26) + (2 * width - 50) * part) for part in share]
    left = [(z, rng.uniform(0, 8) + behind / 2, width - 19) for z in np.arange(bend_left, 150, 17)]
    swing = rng.uniform(-50, 60)
    sigmoid = [(150, -5, width - 24), (172, -25, 74), (185, -38, 40), (178, -42, swing / 2), (192, -30, swing),
               (212, -2, swing / 2), (222, 24, 0)]
    for index, course in enumerate((right, across, left, sigmoid)):
        empty = rng.random() < (0.15, 0.3, 0.45, 0.5)[index]
        size = rng.uniform(6, 10) if empty else rng.uniform(14, 26 if index == 0 else 21)
        stool, gassy = rng.random() < 0.6, rng.random() < (0.2 if empty else 0.6)
        bright = oral != "water" and rng.random() < 0.7
        mean = rng.uniform(100, 500) if bright else rng.uniform(-20, 60)
        for begin in range(0, len(course) - 1, 3):  # a few haustra share their content
            places = [np.add(place, rng.normal(0, 2.5, 3)) for place in course[begin:begin + 4]]
            sizes = [float(np.clip(size * rng.uniform(0.8, 1.15), 4, max(room(patient, place), 4))) for place in places]
            pieces = []
            for start, stop, first, last in zip(places[:-1], places[1:], sizes[:-1], sizes[1:], strict=True):
                pieces.append(tube(start, stop, 0.72 * first, 0.72 * last))
                pieces.append(ellipsoid((start + stop) / 2, np.full(3, (first + last) / 2) * rng.uniform(0.9, 1.1, 3)))
            gas = float(np.mean([place[1] for place in places]) - size * rng.uniform(-0.6, 0.6)) if (
                gassy and rng.random() < 0.75) else None

            def content(drawn, mean=mean, stool=stool):
                if not stool:
                    return mean
                grain = canvas.texture(drawn.window, 3.0)
                return mean + 18 * grain - 320 * np.maximum(grain - 1.0, 0)  # bubbles

            fill_hollow(canvas, pieces, 2.2, tissues.gut_wall - 8, content, gas, 3.0)
