"""Draws the chest and neck: lungs above the diaphragm, heart with chambers, great vessels, airways, esophagus.

The chest is painted after the abdominal organs, so that the lungs cut them off at the diaphragm.
"""

import numpy as np

from kits_tf.phantoms.body.canvas import Canvas
from kits_tf.phantoms.body.patient import Patient
from kits_tf.phantoms.body.tissues import Tissues
from kits_tf.phantoms.drawing import Shape, ellipsoid

CHEST = (-325.0, -260.0, -220.0), (0.0, 110.0, 220.0)


def lungs(patient: Patient, side: int, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns the level of one lung, in mm: the chest without the mediastinum."""
    height = np.interp(z, [-320, -290, -240, -180, -110, -60], [26, 30, 32, 34, 34, 26])
    forward = np.exp(-(((y + 48) / 38) ** 2)) * np.interp(z, [-250, -170, -110], [4, 42, 38])
    spine = 32 * np.exp(-(((y - 5) / 26) ** 2))
    middle = np.maximum(height - 22 + forward * (1.0 if side > 0 else 0.55), spine) - side * x
    return np.maximum(patient.chest(z, y, x), middle)


def draw_thorax(canvas: Canvas, patient: Patient, tissues: Tissues, rng: np.random.Generator) -> None:
    """Paints everything above the diaphragm."""
    _draw_neck(canvas, tissues, rng)
    if canvas.window(*CHEST) is None:
        return
    dense = rng.random() < 0.25  # expiration or edema: bright lungs
    lung = tissues.lung + (rng.uniform(60, 350) if dense else 0)
    effusion = rng.uniform(-40, 40) if rng.random() < 0.15 else None
    atelectasis = rng.random() < 0.3
    for side in (-1, 1):
        low, high = sorted((side * -20, side * 220))
        box = Shape((CHEST[0][0], CHEST[0][1], low), (CHEST[1][0], CHEST[1][1], high),
                    lambda *at, side=side: lungs(patient, side, *at))
        # The diaphragm's muscle and the pleura separate lung and abdomen.
        canvas.paint(Shape(box.low_mm, box.high_mm, lambda *at, side=side: np.maximum(
            lungs(patient, side, *at) - 2.5, 0.75 * (at[0] - patient.dome(at[1], at[2])) - 2.5)), tissues.muscle, 4.0)

        def value(drawn):
            grain = canvas.texture(drawn.window, 2.5)
            vessels = np.clip(np.abs(canvas.texture(drawn.window, 3.5)) - 1.8, 0, 0.8)
            return np.float32(lung) + grain * 20 + vessels * 1100

        canvas.paint(box, value, 4.0)
        if effusion is not None:
            level_y = 45 + effusion
            canvas.paint(Shape(box.low_mm, box.high_mm, lambda *at, box=box, level_y=level_y: np.maximum(
                box.level(*at), level_y - at[1])), tissues.fluid, 4.0)
        elif atelectasis:
            canvas.paint(Shape(box.low_mm, box.high_mm, lambda *at, box=box: np.maximum(
                box.level(*at), 50 - at[1])).cut(lambda z, y, x: np.float32(-95) - z), tissues.muscle + 10, 3.0,
                soft_mm=4.0, share=rng.uniform(0.3, 1.0))
        for _ in range(9):  # hilar vessels
            stop = (rng.uniform(-260, -110), rng.uniform(-60, 50), side * rng.uniform(60, 105))
            canvas.tubes([(-205, -12, side * 34), np.add((-205, -12, side * 34), stop) / 2 + rng.normal(0, 8, 3), stop],
                         [6.0, 3.5, 1.2], tissues.vein if rng.random() < 0.5 else tissues.artery)
        for _ in range(rng.poisson(0.5)):  # nodules
            radius = rng.uniform(2, 14)
            canvas.paint(ellipsoid((rng.uniform(-280, -120), rng.uniform(-50, 50), side * rng.uniform(60, 100)),
                                   (radius, radius, radius)).cut(box.level), rng.uniform(10, 80), 2.0)
    _draw_heart(canvas, patient, tissues, rng)
    _draw_mediastinum(canvas, patient, tissues, rng)


def _draw_heart(canvas, patient, tissues, rng):
    base = patient.dome_mm
    centre = np.array([base - rng.uniform(22, 38), -56 - 0.15 * patient.front_mm, rng.uniform(18, 30)])
    size = rng.uniform(0.85, 1.25)
    along = np.array([0.45, -0.6, 0.66])  # to the apex: down, forward, left
    along /= np.linalg.norm(along)
    across = np.cross(along, [1.0, 0, 0])
    across /= np.linalg.norm(across)
    axes = np.stack([along, across, np.cross(along, across)])

    def place(a, b, c):
        return centre + (np.array([a, b, c]) * size) @ axes

    fat = ellipsoid(centre, np.array([74, 52, 54]) * size, axes)
    canvas.paint(fat.cut(lambda *at: np.maximum(patient.cavity(*at), 0.7 * (at[0] - patient.dome(at[1], at[2])) - 14)),
                 tissues.fat, 4.0)
    outer = ellipsoid(centre, np.array([66, 44, 46]) * size, axes)
    limit = outer.cut(lambda *at: 0.7 * (at[0] - patient.dome(at[1], at[2])) - 11)
    canvas.paint(limit, tissues.myocardium, 3.0)

    def chamber(offset, radii, value):
        canvas.paint(ellipsoid(place(*offset), np.multiply(radii, size), axes).cut(
            lambda *at: limit.level(*at) + 4), value, 3.0)

    left_heart = tissues.artery * 0.95
    right_heart = tissues.vein if tissues.phase != "arterial" else tissues.artery * rng.uniform(0.6, 1.3)
    flip = np.sign(axes[1][2]) or 1.0
    chamber((8, flip * 14, 4), (42, 17, 20), left_heart)
    chamber((2, flip * -20, 0), (44, 13, 26), right_heart)
    chamber((-46, flip * 14, 0), (20, 20, 22), left_heart)
    chamber((-38, flip * -24, 4), (22, 18, 22), right_heart)
    if rng.random() < 0.3:  # calcified coronaries and valves
        for _ in range(5):
            spot = place(*rng.normal(0, (20, 25, 25)))
            canvas.paint(ellipsoid(spot, rng.uniform(1.5, 3.5, 3)), rng.uniform(250, 900), 1.5)


def _draw_mediastinum(canvas, patient, tissues, rng):
    wide = rng.uniform(11, 15)
    arch = [(-70, 0, 0), (-215, -5, 22), (-245, -12, 20), (-258, -30, 6), (-245, -52, -12), (-200, -58, -4)]
    arch[0] = (-60, -24, 4)
    arch.insert(1, (-140, -10, 20))
    canvas.tubes(arch, [wide * 0.9, wide, wide, wide, wide * 1.1, wide * 1.2, wide * 1.2], tissues.artery)
    canvas.tubes([(-200, -62, 6), (-228, -52, 18), (-226, -25, 34)], [13, 12, 9], tissues.vein)
    canvas.tubes([(-290, -48, -22), (-235, -48, -28), (-195, -42, -30)], [8, 9, 10],
                 tissues.vein * (2.2 if tissues.phase == "arterial" else 1.0))
    for x in (-26, -2, 20):  # vessels to neck and arms
        canvas.tubes([(-258, -34, x * 0.5), (-310, -25, x), (-420, -12, np.sign(x + 1) * 30)], [5, 4.5, 4],
                     tissues.artery)
    for side in (-1, 1):
        canvas.tubes([(-300, -45, side * 15), (-315, -15, side * 34), (-430, -8, side * 38)], [7, 6, 6], tissues.vein)
    trachea = [(-430, -22, 0), (-330, -22, 0), (-236, -14, 0)]
    canvas.tubes(trachea, 10.0, tissues.muscle + 20)
    canvas.tubes(trachea, 7.5, -990.0)
    for side in (-1, 1):
        canvas.tubes([(-236, -14, 0), (-212, -8, side * 36)], [6.5, 5], -985.0)
    gas = rng.random() < 0.4
    esophagus = [(-400, -8, 4), (-250, -2, 4), (-150, -20, 8), (-95, -34, 20)]
    canvas.tubes(esophagus, 7.0, tissues.gut_wall)
    canvas.tubes(esophagus, 2.5, -700.0 if gas else tissues.fluid)
    for _ in range(6):  # lymph nodes
        canvas.paint(ellipsoid((rng.uniform(-260, -190), rng.uniform(-45, -5), rng.uniform(-25, 30)),
                               rng.uniform(2, 6, 3)), tissues.muscle + 10, 2.0)


def _draw_neck(canvas, tissues, rng):
    iodine = rng.uniform(80, 200)
    for side in (-1, 1):
        canvas.paint(ellipsoid((-335, -26, side * 17), (22, 9, 9)), iodine, 2.0)
        canvas.paint(ellipsoid((-425, -32, side * 34), (14, 9, 9)), tissues.muscle + 10, 2.0)
    canvas.tubes([(-480, -20, 0), (-380, -26, 0)], 9.0, -980.0)
    canvas.paint(ellipsoid((-440, -50, 0), (9, 26, 30)), tissues.bone * 0.6, 2.5)
