"""Draws aorta, vena cava and their branches, with aneurysms, calcifications and stent grafts."""

import itertools

import numpy as np

from kits_tf.phantoms.body.canvas import Canvas
from kits_tf.phantoms.body.patient import Patient
from kits_tf.phantoms.body.tissues import Tissues
from kits_tf.phantoms.drawing import ellipsoid

AORTA = ((-95, -22, 8), (-40, -26, 6), (20, -27, 7), (70, -30, 8), (98, -30, 4))
CAVA = ((-110, -26, -24), (-60, -30, -22), (0, -26, -20), (60, -25, -18), (112, -20, -10))


def draw_vessels(canvas: Canvas, patient: Patient, tissues: Tissues, rng: np.random.Generator) -> list[str]:
    """Paints the great vessels of the abdomen and pelvis; returns findings."""
    notes = []
    wide = rng.uniform(7, 12)
    aneurysm = rng.uniform(16, 34) if rng.random() < 0.06 else 0.0
    wiggle = rng.normal(0, 2.0, 3)
    course = [np.array(point, float) + wiggle * (1 + 0.3 * index) for index, point in enumerate(AORTA)]
    flat = rng.uniform(7, 13)
    cava = [np.array(point, float) for point in CAVA]
    canvas.tubes(cava[:3], flat, tissues.vein)
    canvas.tubes(cava[2:], [flat, flat * 0.95, flat * 0.9], tissues.cava)
    if aneurysm:
        notes.append("aortic aneurysm")
        sac = np.add(course[3], (0, -0.5 * aneurysm, 4))
        canvas.paint(ellipsoid(sac, (aneurysm * 1.5, aneurysm, aneurysm)), tissues.muscle - 10, 3.0)
        lumen = np.add(sac, (0, 0.15 * aneurysm, 0))
        canvas.paint(ellipsoid(lumen, np.array([1.5, 0.7, 0.7]) * aneurysm), tissues.artery, 3.0)
    canvas.tubes(course, [wide * 1.1, wide, wide, wide * 0.9, wide * 0.85], tissues.artery)
    for side in (-1, 1):
        groin = [(98, -30, 4), (140, -12, side * 26), (185, -18, side * 48), (235, -62, side * 62),
                 (262, -68, side * 72), (420, -30, side * 80)]
        canvas.tubes(groin, [wide * 0.75, wide * 0.6, 5.0, 4.8, 4.6, 4], tissues.artery)
        late = tissues.cava if rng.random() < 0.6 else tissues.muscle
        veins = [np.add(point, (3, 9, -side * 3)) for point in [CAVA[-1], *groin[1:]]]
        canvas.tubes(veins, [8, 7, 6.5, 6.5, 6, 5.5], late)
        canvas.tubes([(140, -10, side * 28), (175, 14, side * 40), (215, 25, side * 52)], [5, 4, 3], tissues.artery)
        if rng.random() < 0.5:  # saphenous and gonadal veins, inferior epigastric vessels
            canvas.tubes([(20, -14, side * 34), (120, -22, side * 52)], 1.8, tissues.vein)
    front = patient.front_mm
    canvas.tubes([(-48, -32, 6), (-50, -0.45 * front - 14, 4)], 3.6, tissues.artery)
    canvas.tubes([(-50, -0.45 * front - 14, 4), (-44, -0.4 * front - 8, -24)], 2.6, tissues.artery)
    canvas.tubes([(-25, -34, 5), (-5, -50, 4), (60, -56, 0), (120, -58, -18)], [4, 3.8, 3.2, 2], tissues.artery)
    canvas.tubes([(-20, -50, -12), (30, -52, -8), (90, -56, -16)], [6, 5, 3.5], tissues.portal)
    canvas.tubes([(-20, -50, -12), (-36, -40, -22), (-52, -36, -34)], 6.5, tissues.portal)
    if rng.random() < 0.5:
        hardness = rng.uniform(0.5, 14)
        for start, stop in itertools.pairwise(course):
            for _ in range(rng.poisson(hardness / 2)):
                away = rng.uniform(-np.pi, np.pi)
                place = start + (stop - start) * rng.random() + wide * np.array([0, np.sin(away), np.cos(away)])
                canvas.paint(ellipsoid(place, rng.uniform(0.8, 3.5, 3) * (2, 1, 1)), rng.uniform(250, 1100), 1.2)
        if hardness > 4:
            notes.append("calcified aorta")
    if rng.random() < 0.05:
        notes.append("aortic stent graft")
        for turn in np.arange(0, 90, 9.0):
            ring = [(turn - 10 + 4 * np.sin(3 * angle), -28 + wide * np.sin(angle), 7 + wide * np.cos(angle))
                    for angle in np.linspace(0, 2 * np.pi, 10)]
            canvas.tubes(ring, 0.8, 1800.0)
    return notes
