"""Draws medical devices (prostheses, screws, clips, drains, tubes), ascites, lymph nodes, masses and bone lesions."""

import numpy as np

from kits_tf.phantoms.body.canvas import Canvas
from kits_tf.phantoms.body.patient import HIP_MM, Patient
from kits_tf.phantoms.body.shapes import waves
from kits_tf.phantoms.body.tissues import Tissues
from kits_tf.phantoms.drawing import Shape, ellipsoid

METAL_HU = 2800.0


def draw_ascites(canvas: Canvas, patient: Patient, tissues: Tissues, rng: np.random.Generator) -> list[str]:
    """Draws fluid at the sides of the abdomen and in the pelvis, in one patient in fourteen; returns findings.

    Call it before any organ is drawn.
    """
    if rng.random() > 0.07:
        return []
    depth, uneven = rng.uniform(4, 40), waves(rng, 90.0)

    def level(z, y, x):
        room = patient.abdomen(z, y, x)
        layer = -room - depth * (1 + 0.7 * uneven(z, y, x))
        return np.maximum(np.maximum(room, layer), np.maximum(0.7 * (y - 18), z - 225))

    canvas.paint(Shape((-140, -220, -220), (225, 30, 220), level), tissues.fluid, 5.0)
    return ["ascites"]


def draw_devices(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> list[str]:
    """Draws random devices, nodes, masses and bone lesions; returns findings."""
    notes = []
    if rng.random() < 0.06:
        notes.append("hip prosthesis")
        side = int(rng.choice([-1, 1]))
        hip = np.array((HIP_MM, -4.0, side * 86.0))
        canvas.paint(ellipsoid(hip, (25, 25, 25)), METAL_HU, 2.5)
        canvas.tubes([hip, (264, 6, side * 122), (400, 2, side * 114)], [8, 8, 6], METAL_HU)
    if rng.random() < 0.04:
        notes.append("spinal screws")
        for z in rng.choice([-20.0, 15.0, 50.0, 85.0, 120.0], 2, replace=False):
            for x in (-24, 24):
                canvas.tubes([(float(z), 42, x), (float(z), -8, 0.45 * x)], 2.5, METAL_HU)
    if rng.random() < 0.12:
        notes.append("clips")
        around = rng.uniform((-60, -60, -80), (160, 20, 80))
        for _ in range(int(rng.integers(1, 9))):
            start = around + rng.normal(0, 14, 3)
            canvas.tubes([start, start + rng.normal(0, 3, 3)], 0.9, METAL_HU)
    if rng.random() < 0.06:
        notes.append("drain")
        inner = rng.uniform((0, -60, -70), (180, 10, 70))
        canvas.tubes([inner, inner * (1, 0.5, 1.1), (inner[0] + 20, -20, np.sign(inner[2]) * 240)], 2.5, 350.0)
    if rng.random() < 0.06:
        notes.append("gastric tube")
        canvas.tubes([(-400, -8, 4), (-250, -2, 4), (-150, -20, 8), (-95, -34, 30), (-60, -50, 56)], 1.8, 300.0)
    if rng.random() < 0.08:
        notes.append("retroperitoneal nodes")
        for _ in range(int(rng.integers(3, 14))):
            place = (rng.uniform(-40, 130), rng.uniform(-45, -18), rng.uniform(-38, 38))
            canvas.paint(ellipsoid(place, rng.uniform(4, 14, 3)), rng.uniform(30, 110), 2.5)
    if rng.random() < 0.08:
        notes.append("mass")  # large, of bowel, ovary or retroperitoneum, not of a kidney
        front = patient.front_mm
        place = (rng.uniform(20, 200), rng.uniform(-0.7 * front, -25), rng.uniform(-0.6, 0.6) * patient.half_width_mm)
        canvas.paint(ellipsoid(place, rng.uniform(15, 50, 3)).cut(patient.abdomen), rng.uniform(0, 150), 3.0)
    if rng.random() < 0.1:
        notes.append("bone lesions")
        for _ in range(int(rng.integers(1, 8))):
            place = (rng.uniform(-250, 140), rng.uniform(-12, 10), rng.uniform(-16, 16))
            canvas.paint(ellipsoid(place, rng.uniform(3, 12, 3)), rng.uniform(-20, 900), 2.0)
    return notes
