"""Organs around the kidneys: liver, gallbladder, spleen, stomach, pancreas, gut, great vessels and lungs.

In: the scan with the torso, changed in place. Liver and gallbladder lie on the patient's right, where x is negative;
spleen and stomach on the left. Later organs cover earlier ones. Kidneys are drawn last, with fat around them, so this
module does not need their positions.
"""

import itertools
from collections.abc import Callable, Iterable

import numpy as np

from kits_tf.phantoms import tissues
from kits_tf.phantoms.drawing import Field, Grid, Number, Shape, edge, ellipsoid, paint, tube
from kits_tf.phantoms.torso import Patient

AORTA_MM = (-29.0, 9.0)  # y, x of its center
VENA_CAVA_MM = (-25.0, -19.0)


def draw_organs(hu: np.ndarray, grid: Grid, patient: Patient, phase: tissues.Phase, rng: np.random.Generator,
                lungs_end_mm: float) -> None:
    """Draws the organs into a scan, in place.

    Args:
        hu: float32 scan with the torso.
        grid: the scan's Grid.
        patient: the scan's Patient.
        phase: Phase of the contrast medium.
        rng: NumPy random generator.
        lungs_end_mm: z of the kidneys' upper poles; the lungs end above it.
    """
    _draw_gut(hu, grid, patient, phase, rng)
    _draw_liver(hu, grid, patient, phase, rng)
    _draw_left_side(hu, grid, patient, phase, rng)
    _draw_pancreas(hu, grid, phase, rng)
    _draw_vessels(hu, grid, phase)
    _draw_lungs(hu, grid, patient, rng, lungs_end_mm)


def _textured(rng, shape, mean, spread, wavelength_mm):
    """Returns a function of position: HU that vary smoothly around a mean by about `spread`, in a shape's block."""
    field = Field(rng, shape.low_mm, shape.high_mm, wavelength_mm)
    return lambda *at: mean + spread * field(*at)


def hollow(hu: np.ndarray, grid: Grid, pieces: Iterable[Shape], wall_mm: float, wall: float, content: Number | Callable,
           gas_above_mm: float | None = None) -> None:
    """Draws a hollow organ: wall, content, and gas in front, because the patient lies on the back.

    Args:
        hu, grid: the scan, changed in place, and its Grid.
        pieces: Shapes that open into each other.
        wall_mm, wall: thickness of the wall in mm and its HU.
        content: HU, one number or a function of (z, y, x).
        gas_above_mm: gas fills the part in front of this y; None for no gas.
    """
    def value(z, y, x):
        inner = content(z, y, x) if callable(content) else content
        if gas_above_mm is None:
            return inner + 0 * y
        return inner + edge(gas_above_mm - y, grid.spacing_mm[1]) * (tissues.AIR + 30 - inner)

    for shape in pieces:
        paint(hu, grid, shape, wall)
    for shape in pieces:
        paint(hu, grid, Shape(shape.low_mm, shape.high_mm, lambda *at, shape=shape: shape.level(*at) + wall_mm), value)


def _draw_gut(hu, grid, patient, phase, rng):
    width, front = patient.inner_half_width_mm, patient.inner_front_mm
    end = grid.origin_mm[0] + grid.shape[0] * grid.spacing_mm[0]

    def room(place):
        """Distance from a position to the wall, less 3 mm."""
        return float(-patient.cavity(*place)) - 3

    # Small bowel: loops wind through the front half, from the stomach down.
    low, high = np.array([-35, -front + 16, -0.85 * width]), np.array([end + 20, -34, 0.85 * width])
    for _ in range(int(62 * max(end + 35, 40) / 200)):
        place, heading, size = rng.uniform(low, high), rng.normal(size=3), rng.uniform(8, 13)
        pieces = []
        for _ in range(rng.integers(2, 5)):
            heading = heading + rng.normal(0, 0.8, 3)
            stop = np.clip(place + heading / np.linalg.norm(heading) * rng.uniform(14, 26), low, high)
            if min(room(place), room(stop)) > size:
                pieces.append(tube(place, stop, size, size * rng.uniform(0.9, 1.0)))
            place = stop
        gas = place[1] - rng.uniform(0, 10) if rng.random() < 0.2 else None
        hollow(hu, grid, pieces, 2.0, phase.gut_wall + rng.uniform(-12, 12), rng.uniform(5, 60), gas)
    # Colon: up the right flank, across the front, sagging in the middle, and down the left flank.
    sag = rng.uniform(15, 60)
    right, left = -(width - 30), width - 24
    across = [(25 - 45 * (x / width) + sag * (1 - (x / width) ** 2) - 25, -front + 22 + 30 * (x / width) ** 4, x)
              for x in np.arange(right + 8, left - 8, 13)]
    down = [(z, -8 + 0.08 * (z + 30), left) for z in np.arange(-48, end + 20, 13)]
    up = [(z, -8, right) for z in np.arange(18, end + 20, 13)]
    for course in (across, down, up):
        full, gassy = rng.uniform(-5, 45), rng.random() < 0.7
        for begin in range(0, len(course), 4):  # four haustra in a row share their content
            part = course[begin:begin + 5]
            size = rng.uniform(12, 17)
            places = [np.array(place) + rng.normal(0, 2, 3) for place in part]
            sizes = [min(size, max(room(place), 4) / 1.15) for place in places]
            pieces = [ellipsoid(place, radius * rng.uniform(0.9, 1.15, 3))
                      for place, radius in zip(places, sizes, strict=True)]
            low, high = np.min(places, axis=0) - 2 * size, np.max(places, axis=0) + 2 * size
            lumps = Field(rng, low, high, 6.0)
            gas = np.mean(places, axis=0)[1] - size * rng.uniform(-0.3, 0.8) if gassy and rng.random() < 0.7 else None

            def stool(*at, lumps=lumps, full=full):
                return full - 60 * np.maximum(lumps(*at), 0)

            hollow(hu, grid, pieces, 2.2, phase.gut_wall - 15, stool, gas)


def _draw_liver(hu, grid, patient, phase, rng):
    width, front = patient.inner_half_width_mm, patient.inner_front_mm
    tip = rng.uniform(5, 45)
    top = -185
    right = ellipsoid(((tip + top) / 2, -front / 2 + 22, -max(width - 56, 62)),
                      ((tip - top) / 2, (front + 50) / 2 + 4, 64))
    left = ellipsoid((-100, -front + 45, rng.uniform(-5, 20)), (52, 34, 80))

    def level(*at):
        spine = 40 - np.hypot((at[1] - 10) * 0.8, at[2] - 8)
        return np.maximum(np.maximum(np.minimum(right.level(*at), left.level(*at)), patient.cavity(*at) + 2.5), spine)

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
    hollow(hu, grid, [bladder], 1.5, 60.0, tissues.BILE)


def _draw_left_side(hu, grid, patient, phase, rng):
    width, front = patient.inner_half_width_mm, patient.inner_front_mm

    def inside(*at):
        return patient.cavity(*at) + 6

    stomach = ellipsoid((-85, -front + 52, 50), (60, 40, rng.uniform(44, 56))).cut(inside)
    fundus = ellipsoid((-122, -18, 58), (36, 36, 38)).cut(inside)
    gas = -front + 48 - rng.uniform(-5, 18)
    meal = Field(rng, np.minimum(stomach.low_mm, fundus.low_mm), np.maximum(stomach.high_mm, fundus.high_mm), 12.0)
    hollow(hu, grid, [stomach, fundus], 4.5, phase.gut_wall, lambda *at: 32 + 16 * meal(*at), gas)
    spleen = ellipsoid((-88, 18, width - 24), (rng.uniform(42, 58), rng.uniform(40, 52), 30)).cut(
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
    hollow(hu, grid, [duodenum], 2.2, phase.gut_wall, tissues.GUT_CONTENT)


def _draw_vessels(hu, grid, phase):
    split = 85.0  # bifurcation of aorta and vena cava
    for (y, x), radius, value, turn in ((AORTA_MM, 9.5, phase.artery, 0.45), (VENA_CAVA_MM, 11.0, phase.vein, 0.45)):
        paint(hu, grid, tube((-400, y + 4, x), (split, y, x), radius, radius * 0.9), value)
        for side in (-1, 1):
            paint(hu, grid, tube((split, y, x), (split + 100, y + 12, side * 100 * turn), radius * 0.7), value)
    aorta_y, aorta_x = AORTA_MM
    paint(hu, grid, tube((-30, aorta_y - 8, aorta_x), (100, aorta_y - 24, 2), 4.2, 3), phase.artery)  # to the gut
    paint(hu, grid, tube((-24, aorta_y - 20, -10), (100, aorta_y - 26, -12), 5.5, 4), phase.portal)


def _draw_lungs(hu, grid, patient, rng, lungs_end_mm):
    """Draws the lung bases above the two domes of the diaphragm, and the base of the heart."""
    for side in (-1, 1):
        peak = -128 if side < 0 else -118

        def level(z, y, x, side=side, peak=peak):
            # The lungs reach far lower behind the liver than in front of it.
            dome = peak + 0.0075 * (x - side * 68) ** 2 + np.where(y > -22, 0.0085, 0.0015) * (y + 22) ** 2
            dome = np.minimum(dome, lungs_end_mm - 12)
            middle = 24 + 26 * np.exp(-(((y + 55) / 42) ** 2)) + 8 * (side > 0) - side * x
            sides = np.maximum(patient.cavity(z, y, x) + 1.5, middle)
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
