"""Draws the body's frame: skin, fat and muscle from neck to thighs, fat in the cavity, arms and breasts.

In: a Canvas of air, a Patient and its Tissues. Everything else is painted over it.
"""

from collections.abc import Callable

import numpy as np

from kits_tf.phantoms.body.canvas import Canvas, Drawn
from kits_tf.phantoms.body.patient import CROTCH_MM, Patient, psoas
from kits_tf.phantoms.body.tissues import Tissues
from kits_tf.phantoms.drawing import Shape, ellipsoid

WHOLE = (-700.0, -400.0, -400.0), (700.0, 400.0, 400.0)


def thickness(patient: Patient, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (fat, muscle) of the wall in mm: thick at buttocks and shoulders, thin at the chest."""
    marks = np.array([-420, -330, -290, -250, -150, -60, 40, 110, 170, 220, 250, 300, 500], np.float32)
    flesh = patient.fitness
    side = np.interp(z, marks, [16, 22, 92, 34, 16, 12, patient.wall_mm / flesh, 16, 32, 46, 76, 98, 98]) * flesh**0.6
    front = np.interp(z, marks, [12, 12, 20, 20, 14, 9, 7, 7, 9, 14, 15, 20, 30]) * flesh
    back = np.interp(z, marks, [22, 28, 30, 28, 26, 26, 28, 28, 34, 46, 54, 60, 56]) * flesh
    fat = np.interp(z, marks, [0.25, 0.3, 0.45, 0.6, 0.6, 0.85, 1, 1.15, 1.35, 1.3, 1.2, 1.0, 0.8]) * patient.fat_mm
    radius = np.hypot(y, x) + 1e-3
    behind, aside = np.clip(y / radius, 0, 1) ** 2, (x / radius) ** 2
    ahead = np.clip(-y / radius, 0, 1) ** 2
    muscle = side * aside + front * ahead + back * behind
    furrow = 6 * np.exp(-((x / 9) ** 2)) * (y > 0)
    lower = np.clip((z - 60) / 120, 0, 1)
    fat = fat * (0.8 * aside + (1.0 + 0.1 * lower) * ahead + (0.85 + 0.4 * lower) * behind)
    return np.maximum(fat, 1.5) - np.minimum(furrow, 0.5 * fat), muscle


def _thighs(patient, z, y, x, grown):
    """Returns the level of both thighs below the crotch, enlarged by `grown` mm."""
    radius = 72 * patient.fitness**0.4 - 0.06 * np.maximum(z - CROTCH_MM, 0) + grown
    level = np.hypot((y - 5) * 0.97, np.abs(x) - np.maximum(94 + 0.4 * grown, radius + 1)) - radius
    return np.maximum(level, 0.8 * (CROTCH_MM - 40 - z))


def septate(canvas: Canvas, rng: np.random.Generator, tissues: Tissues, wavelength_mm: float, lean: float) -> Callable:
    """Returns a function for Canvas.paint: muscle with fat septa where a random field is near zero."""
    depth = rng.uniform(0.2, 0.85)

    def value(drawn):
        field = canvas.field(drawn, rng, wavelength_mm, along=3.0)
        gap = np.clip(1 - np.abs(field) / np.float32(lean), 0, 1)
        return (tissues.muscle - gap * np.float32(depth * (tissues.muscle - tissues.fat))
                + canvas.texture(drawn.window, 3.0) * np.float32(3 * tissues.grain))

    return value


def draw_frame(canvas: Canvas, patient: Patient, tissues: Tissues, rng: np.random.Generator) -> None:
    """Paints skin, fat, muscle and the fat inside the cavity."""
    bundles = rng.uniform(0.05, 0.2)

    def torso(z, y, x):
        fat, muscle = thickness(patient, z, y, x)
        outer = patient.trunk(z, y, x) - muscle
        end = 0.9 * (z - CROTCH_MM)
        return np.maximum(outer, end), fat

    def skin(*at):
        muscle, fat = torso(*at)
        return np.minimum(muscle - fat - 2, _thighs(patient, *at, patient.fat_mm * 0.7 + 2))

    def under(*at):
        muscle, fat = torso(*at)
        return np.minimum(muscle - fat, _thighs(patient, *at, patient.fat_mm * 0.7))

    def flesh(*at):
        return np.minimum(torso(*at)[0], _thighs(patient, *at, 0))

    lumps = rng.uniform(2, 9)
    canvas.paint(Shape(*WHOLE, skin), tissues.skin, 5.0)
    canvas.paint(Shape(*WHOLE, under), lambda drawn: tissues.fat + lumps * canvas.texture(drawn.window, 4.0), 5.0)
    canvas.paint(Shape(*WHOLE, flesh), septate(canvas, rng, tissues, rng.uniform(15, 28), bundles), 5.0)
    stranding = rng.uniform(4, 18)
    canvas.paint(Shape((-330, -400, -400), (CROTCH_MM, 400, 400),
                       lambda *at: np.maximum(patient.cavity(*at), 0.7 * (at[0] - CROTCH_MM + 15))),
                 lambda drawn: patient.inner_fat_hu + stranding * canvas.texture(drawn.window, 3.5), 5.0)
    if not patient.male:
        _draw_breasts(canvas, patient, tissues, rng)
    if patient.arms != "none":
        _draw_arms(canvas, patient, tissues, rng)
    _draw_muscles(canvas, patient, tissues, rng)


def _draw_breasts(canvas, patient, tissues, rng):
    size = rng.uniform(25, 45) + 0.8 * patient.fat_mm
    glands = rng.uniform(-0.2, 1.0)
    _, front, _ = patient.outline(np.float32(-185))
    for side in (-1, 1):
        centre = (-175 + rng.uniform(-5, 25), -front - 0.55 * patient.fat_mm - 8, side * rng.uniform(78, 95))
        shape = ellipsoid(centre, (size * 1.05, size * 0.8, size * 1.1)).cut(
            lambda *at: -(patient.trunk(*at) - thickness(patient, *at)[1]))
        canvas.paint(shape, tissues.skin, 4.0)

        def value(drawn):
            gland = np.clip(canvas.field(drawn, rng, 9.0) + glands - 0.6, 0, 1)
            return tissues.fat + gland * np.float32(130)

        canvas.paint(Shape(shape.low_mm, shape.high_mm, lambda *at, shape=shape: shape.level(*at) + 2.5), value, 4.0)


def _draw_arms(canvas, patient, tissues, rng):
    size = (30 + 6 * patient.fitness) + 0.45 * patient.fat_mm
    width = patient.half_width_mm + patient.wall_mm + patient.fat_mm + size
    for side in (-1, 1):
        if patient.arms == "up":
            points = [(-290, 10, side * 165), (-360, -10, side * 175), (-520, -30, side * rng.uniform(110, 170))]
        else:
            elbow = (20 + rng.uniform(-20, 30), rng.uniform(-5, 30), side * (width + 10))
            hand = ((200, rng.uniform(-30, 10), side * (width + 15)) if rng.random() < 0.7 else
                    (60, -patient.front_mm - patient.fat_mm - size - 20, side * 40))
            points = [(-290, 15, side * 168), (-150, 20, side * max(width, 175)), elbow, hand]
        for grown, value in ((2, tissues.skin), (0, tissues.fat),
                             (-2 - 0.35 * patient.fat_mm, septate(canvas, rng, tissues, 20.0, 0.1))):
            canvas.tubes(points, [max(size * part + grown, 6) for part in (1.25, 1.1, 0.85, 0.65)[:len(points)]], value)
        bone = 11.0
        canvas.tubes(points[:3], bone, tissues.bone)
        canvas.tubes(points[:3], bone - 4, tissues.marrow)
        if len(points) == 4:
            for apart in (-9, 9):
                course = [np.add(point, (0, apart, 0)) for point in points[2:]]
                canvas.tubes(course, 7.0, tissues.bone)
                canvas.tubes(course, 3.5, tissues.marrow)


def _draw_muscles(canvas, patient, tissues, rng):
    """Draws the long muscles of the back, quadratus lumborum, psoas with iliacus, and the diaphragm's crura."""
    lean = rng.uniform(0.05, 0.25)
    wide, sheath = rng.uniform(32, 44), rng.uniform(0.2, 1.0)
    muscle = septate(canvas, rng, tissues, 16.0, lean)

    def plain(drawn: Drawn) -> np.ndarray:
        return tissues.muscle + canvas.texture(drawn.window, 2.5) * np.float32(3 * tissues.grain)

    for side in (-1, 1):
        low, high = sorted((0, side * 110))

        def erector(z, y, x, side=side):
            size = np.interp(z, [-300, -150, 0, 90, 190], [0.5, 0.7, 0.95, 1.05, 0.4])
            broad = np.interp(z, [-300, -120, 0, 110, 190], [26, 28, wide, wide, 26])
            out = side * (x - side * (0.9 * broad + 4))
            bent = y - 50 + 0.0035 * np.maximum(out, 0) ** 2  # the outer edge follows the ribs forward
            return 22 * (np.hypot(bent / (21 * size), out / broad) - 1)

        canvas.paint(Shape((-300, 20, low), (200, 90, high), lambda *at, level=erector: level(*at) - 1.0),
                     tissues.fat, share=sheath)
        canvas.paint(Shape((-300, 20, low), (200, 90, high), erector), muscle)
        canvas.paint(ellipsoid((45, 38, side * 66), (68, 8, 19 * patient.fitness)), plain)
        canvas.paint(Shape((-45, -65, min(side * 10, side * 115)), (290, 40, max(side * 10, side * 115)),
                           lambda *at, side=side: psoas(patient, side, *at)), plain)
        canvas.tubes([(-75, -8, side * 20), (-20, -16, side * 16), (30, -12, side * 13)], [5.5, 5, 3], plain)
        for z in (120, 170):  # iliacus, on the bone; a notch remains for nerves and fascia
            canvas.paint(ellipsoid((z, -2, side * (78 + 0.12 * (z - 120))), (55, 34, 17)).cut(
                lambda *at: patient.cavity(*at) + 1), plain)
