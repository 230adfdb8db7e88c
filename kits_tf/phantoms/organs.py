"""Organs around the kidneys: liver, gallbladder, spleen, stomach, pancreas, gut, great vessels and lungs.

In: the scan with the torso drawn, in place. Liver and gallbladder lie on the patient's right, where x is negative;
spleen and stomach on the left. Later organs cover earlier ones; kidneys are drawn after all of these, in fat of their
own, so that nothing here needs to know where they are.
"""

import itertools

import numpy as np

from kits_tf.phantoms import tissues
from kits_tf.phantoms.drawing import Field, Shape, edge, ellipsoid, paint, tube

AORTA_MM = (-29.0, 9.0)  # y, x of its middle
VENA_CAVA_MM = (-25.0, -19.0)


def draw_organs(hu, grid, patient, phase, rng, lungs_end_mm):
    """Draws the organs into a scan, in place.

    Args:
        hu: float32 scan with the torso.
        grid: its Grid.
        patient: its Patient.
        phase: Phase of the contrast medium.
        rng: NumPy random generator.
        lungs_end_mm: z below which no lung reaches (the kidneys' upper poles).
    """
    _draw_gut(hu, grid, patient, phase, rng)
    _draw_liver(hu, grid, patient, phase, rng)
    _draw_left_side(hu, grid, patient, phase, rng)
    _draw_pancreas(hu, grid, phase, rng)
    _draw_vessels(hu, grid, phase)
    _draw_lungs(hu, grid, patient, rng, lungs_end_mm)


def _textured(rng, shape, mean, spread, wavelength_mm):
    """HU around a mean, wandering smoothly by about `spread`, over the block that holds a shape."""
    field = Field(rng, shape.low_mm, shape.high_mm, wavelength_mm)
    return lambda *at: mean + spread * field(*at)


def _hollow(hu, grid, shape, wall_mm, wall, content, gas_above_mm=None):
    """Draws a hollow organ: wall, content, and gas in front of a level, since the patient lies on the back."""
    def value(z, y, x):
        inner = content(z, y, x) if callable(content) else content
        if gas_above_mm is None:
            return inner + 0 * y
        return inner + edge(gas_above_mm - y, grid.spacing_mm[1]) * (tissues.AIR + 30 - inner)

    paint(hu, grid, shape, wall)
    paint(hu, grid, Shape(shape.low_mm, shape.high_mm, lambda *at: shape.level(*at) + wall_mm), value)


def _draw_gut(hu, grid, patient, phase, rng):
    width, front = patient.inner_half_width_mm, patient.inner_front_mm
    end = grid.origin_mm[0] + grid.shape[0] * grid.spacing_mm[0]

    def inside(*at):
        return patient.cavity(*at) + 3

    # Small bowel: many short bent pieces in the front half.
    for _ in range(int(70 * max(end + 40, 40) / 200)):
        centre = np.array([rng.uniform(-40, end), rng.uniform(-front + 14, -38), rng.uniform(-0.75, 0.75) * width])
        turn = rng.normal(size=3) * (0.6, 0.8, 1.0)
        reach = turn / np.linalg.norm(turn) * rng.uniform(8, 22)
        piece = tube(centre - reach, centre + reach, rng.uniform(8, 13), rng.uniform(8, 13)).cut(inside)
        gas = centre[1] - rng.uniform(0, 8) if rng.random() < 0.15 else None
        _hollow(hu, grid, piece, 2.0, phase.gut_wall + rng.uniform(-12, 12), rng.uniform(5, 60), gas)
    # Colon: up the right flank, across the front, down the left flank.
    descending = [(z, 8 + 0.05 * z, (width - 24)) for z in range(-35, 180, 17)]
    ascending = [(z, -8, -(width - 30)) for z in range(25, 180, 17)]
    across = [(18 - 45 * np.cos(x / width * 1.2) + 30, -front + 24 + 22 * (x / width) ** 2, x)
              for x in np.arange(-width + 45, width - 40, 17)]
    for z, y, x in (*descending, *ascending, *across):
        size = rng.uniform(13, 19) + 3 * (x < 0)
        piece = ellipsoid((z + rng.uniform(-3, 3), y, x), size * rng.uniform(0.85, 1.15, 3)).cut(inside)
        stool = _textured(rng, piece, rng.uniform(-5, 45), 45, 7.0)
        gas = y - size * rng.uniform(-0.2, 0.8) if rng.random() < 0.6 else None
        _hollow(hu, grid, piece, 2.2, phase.gut_wall - 15, stool, gas)


def _draw_liver(hu, grid, patient, phase, rng):
    width, front = patient.inner_half_width_mm, patient.inner_front_mm
    tip = rng.uniform(5, 45)
    top = -185
    right = ellipsoid(((tip + top) / 2, -front / 2 + 22, -(width - 56)), ((tip - top) / 2, (front + 50) / 2 + 4, 64))
    left = ellipsoid((-100, -front + 45, rng.uniform(-5, 20)), (52, 34, 80))

    def level(*at):
        return np.maximum(np.minimum(right.level(*at), left.level(*at)), patient.cavity(*at) + 2.5)

    low = tuple(np.minimum(right.low_mm, left.low_mm))
    high = tuple(np.maximum(right.high_mm, left.high_mm))
    liver = Shape(low, high, level)
    paint(hu, grid, liver, _textured(rng, liver, phase.liver, 4, 9.0))

    def inside(*at):
        return level(*at) + 8

    hilum = np.array([-70.0, -30.0, -38.0])
    for _ in range(9):
        away = rng.normal(size=3) * (0.8, 0.7, 0.5) + (-0.5, -0.3, -1.0)
        stop = hilum + away / np.linalg.norm(away) * rng.uniform(50, 95)
        paint(hu, grid, tube(hilum, stop, rng.uniform(3, 5.5), 1.5).cut(inside), phase.portal)
    for lateral in (-95, -60, -25):  # hepatic veins, to the vena cava
        paint(hu, grid, tube((-135, -18, -22), (-70, -front * 0.6, lateral), 5, 1.5).cut(inside), phase.vein * 0.9)
    bladder = ellipsoid((min(tip - 20, 5), -min(front * 0.62, 75), -62), (rng.uniform(18, 30), 13, 13))
    _hollow(hu, grid, bladder, 1.5, 60.0, tissues.BILE)


def _draw_left_side(hu, grid, patient, phase, rng):
    width, front = patient.inner_half_width_mm, patient.inner_front_mm
    stomach = ellipsoid((-85, -front + 48, 48), (60, 36, rng.uniform(42, 56))).cut(lambda *at: patient.cavity(*at) + 6)
    gas = -front + 48 - rng.uniform(-5, 18)
    _hollow(hu, grid, stomach, 4.5, phase.gut_wall, _textured(rng, stomach, 32, 16, 12.0), gas)
    spleen = ellipsoid((-88, 18, width - 24), (rng.uniform(42, 56), rng.uniform(38, 48), 26)).cut(
        lambda *at: patient.cavity(*at) + 2.5)
    paint(hu, grid, spleen, _textured(rng, spleen, phase.spleen, 5, 8.0))


def _draw_pancreas(hu, grid, phase, rng):
    course = [(0, -48, -32), (-14, -56, -12), (-24, -60, 12), (-34, -50, 38), (-46, -34, 62)]
    paint(hu, grid, tube((-60, -34, 66), (-24, -48, 0), 4.5), phase.portal)  # splenic vein
    for start, stop in itertools.pairwise(course):
        piece = tube(start, stop, rng.uniform(9, 12), rng.uniform(8, 10))
        bumps = Field(rng, piece.low_mm, piece.high_mm, 8.0)
        lobed = Shape(piece.low_mm, piece.high_mm,
                      lambda *at, piece=piece, bumps=bumps: piece.level(*at) + 1.8 * (bumps(*at) + 0.5))
        paint(hu, grid, lobed, phase.pancreas)
    duodenum = tube((-15, -42, -46), (45, -36, -42), 12, 11)
    _hollow(hu, grid, duodenum, 2.2, phase.gut_wall, tissues.GUT_CONTENT)


def _draw_vessels(hu, grid, phase):
    split = 85.0  # below, both divide
    for (y, x), radius, value, turn in ((AORTA_MM, 9.5, phase.artery, 0.45), (VENA_CAVA_MM, 11.0, phase.vein, 0.45)):
        paint(hu, grid, tube((-400, y + 4, x), (split, y, x), radius, radius * 0.9), value)
        for side in (-1, 1):
            paint(hu, grid, tube((split, y, x), (split + 100, y + 12, side * 100 * turn), radius * 0.7), value)
    aorta_y, aorta_x = AORTA_MM
    paint(hu, grid, tube((-30, aorta_y - 8, aorta_x), (100, aorta_y - 24, 2), 4.2, 3), phase.artery)  # to the gut
    paint(hu, grid, tube((-24, aorta_y - 20, -10), (100, aorta_y - 26, -12), 5.5, 4), phase.portal)


def _draw_lungs(hu, grid, patient, rng, lungs_end_mm):
    """The bases of the lungs: what lies in the chest above two domes of the diaphragm."""
    for side in (-1, 1):
        peak = -128 if side < 0 else -118

        def level(z, y, x, side=side, peak=peak):
            dome = peak + 0.0075 * (x - side * 68) ** 2 + 0.0085 * (y + 22) ** 2
            dome = np.minimum(dome, lungs_end_mm - 12)
            sides = np.maximum(patient.cavity(z, y, x) + 1.5, 34 - side * x)
            return np.maximum(0.7 * (z - dome), sides)

        low, high = sorted((side * 25, side * patient.half_width_mm))
        lung = Shape((-500, -patient.front_mm, low), (lungs_end_mm, patient.back_mm, high), level)
        window = grid.window(lung.low_mm, lung.high_mm)
        if window is None:
            continue
        grain = Field(rng, (-500, lung.low_mm[1], low), (lungs_end_mm, lung.high_mm[1], high), 6.0)

        def value(*at, grain=grain):
            return tissues.LUNG + 250 * np.maximum(grain(*at) - 1.6, 0) + 15 * grain(*at)

        paint(hu, grid, lung, value)
    heart = ellipsoid((-190, -60, 25), (58, 45, 60))
    paint(hu, grid, heart.cut(lambda *at: patient.cavity(*at) + 5), 140.0)
