"""Draws spine, ribs, sternum, shoulder girdle, pelvis, hips and femora.

Marrow has any density; scoliosis comes from the Pose.
A bone is a shape with a cortical shell. It is painted once; its HU depend on the depth under its surface.
"""

from collections.abc import Callable

import numpy as np

from kits_tf.phantoms.body.canvas import Canvas
from kits_tf.phantoms.body.patient import CERVICAL_MM, HIP_MM, LUMBAR_MM, NECK_MM, SACRUM_MM, THORACIC_MM, Patient
from kits_tf.phantoms.body.tissues import Tissues
from kits_tf.phantoms.drawing import Shape, edge, ellipsoid, tube

LUMBAR_TOP_MM = SACRUM_MM - 5 * LUMBAR_MM


def bony(canvas: Canvas, tissues: Tissues, shell_mm: float = 2.5, marrow: float | None = None) -> Callable:
    """Returns a function for Canvas.paint: HU of a cortical shell over marrow with trabecular texture, by depth."""
    core = tissues.marrow if marrow is None else marrow

    def value(drawn):
        shell = edge(drawn.level + np.float32(shell_mm), 2.0)
        spongy = core + canvas.texture(drawn.window, 2.0) * np.float32(14 + 12 * tissues.grain)
        return spongy + shell * (np.float32(tissues.bone) - spongy)

    return value


def vertebra(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (offset from the middle of the disc above, pitch) of the vertebra at heights z, in mm."""
    pitch = np.where(z > LUMBAR_TOP_MM, LUMBAR_MM, np.where(z > NECK_MM, THORACIC_MM, CERVICAL_MM))
    start = np.where(z > LUMBAR_TOP_MM, LUMBAR_TOP_MM, np.where(z > NECK_MM, NECK_MM + 3.8, -500.0))
    return np.mod(z - start, pitch), pitch


def draw_skeleton(canvas: Canvas, patient: Patient, tissues: Tissues, rng: np.random.Generator) -> None:
    """Paints all bones."""
    _draw_ribs(canvas, patient, tissues, rng)
    _draw_shoulders(canvas, patient, tissues)
    _draw_pelvis(canvas, patient, tissues, rng)
    _draw_spine(canvas, patient, tissues, rng)


def _draw_spine(canvas, patient, tissues, rng):
    top = -470.0
    marks = np.array([-470, -320, -300, -150, LUMBAR_TOP_MM, 50, SACRUM_MM], np.float32)
    spurs = rng.uniform(0, 3.5)
    disc_share = rng.uniform(0.12, 0.27)

    def sizes(z):
        return (np.interp(z, marks, [7, 8, 9, 14, 15, 17, 17.5]).astype(np.float32),
                np.interp(z, marks, [10, 11, 12, 14, 18, 22, 25]).astype(np.float32))

    def gap(z):
        """Returns the depth inside the disc, in mm; negative in the vertebral body."""
        offset, pitch = vertebra(z)
        away = np.minimum(offset, pitch - offset)
        return pitch * disc_share / 2 - away

    def arches(low, high):
        def level(z):
            offset, pitch = vertebra(z)
            share = offset / pitch
            return (np.abs(share - (low + high) / 2) - (high - low) / 2) * pitch
        return level

    def body(z, y, x):
        deep, wide = sizes(z)
        waist = 1.8 * np.clip(1 + gap(z) / 9, 0, 1) * (1 + spurs * 0.5) - 1.5
        dent = 3.5 * np.exp(-((x / 9) ** 2)) * (y > 0)
        return deep * (np.hypot(y / deep, x / wide) - 1) + dent - waist

    def element(low_mm, high_mm, level, value, step=2.5):
        canvas.paint(Shape((top, *low_mm), (SACRUM_MM + 4, *high_mm), level), value, step)

    bone = bony(canvas, tissues, 1.8)
    arch, spine = arches(0.25, 0.9), arches(0.4, 0.92)
    across, joints = arches(0.32, 0.58), arches(0.7, 1.25)

    def ring(z, y, x):
        """Returns the level of pedicles and laminae: a triangle with round corners around the canal."""
        outer = np.maximum(np.abs(x) * 0.86 + (y - 26) * 0.5, 18 - y) - 12.0
        return np.maximum(np.maximum(outer, 8.2 - np.hypot((y - 25) * 1.05, x * 0.8)), arch(z))

    def spinous(z, y, x):
        slant = y - 0.35 * np.clip(-z - 60, 0, 60) / 10
        thick = 2.4 + 1.4 * np.clip((slant - 55) / 12, 0, 1)
        return np.maximum(np.maximum(np.abs(x) - thick, np.abs(slant - 53) - 17), spine(z))

    def transverse(z, y, x):
        away = np.abs(x)
        lumbar = np.interp(z, [-330, -60, -20], [30, 30, 44])
        thick = 4.6 - 0.05 * away
        return np.maximum(np.maximum(np.abs(y - 21 - 0.16 * away) - thick, away - lumbar), across(z))

    element((12, -20), (46, 20), ring, bone, 2.0)
    element((34, -6), (80, 6), spinous, bone, 2.0)
    element((15, -46), (40, 46), transverse, bone, 2.0)
    for side in (-1, 1):  # facet joints
        element((22, side * 15 - 9), (42, side * 15 + 9), lambda z, y, x, side=side: np.maximum(
            np.hypot((y - 31) * 0.9, x - side * 15) - 6.5, joints(z)), bony(canvas, tissues, 3.0), 2.0)
    shell = bony(canvas, tissues, 1.6)
    window = canvas.draw(Shape((top, -24, -30), (SACRUM_MM + 4, 24, 30), body), 2.5)
    if window is not None:
        inside, tables = canvas.positions(window.window, 2.5)
        disc = canvas.spread(gap(inside[0]), tables)
        cover = edge(disc, 2.0 + canvas.grid.spacing_mm[0] * 0.7)
        plate = np.clip(1 - np.abs(disc + 1.5) / (1.5 + canvas.grid.spacing_mm[0] * 0.4), 0, 1) * np.float32(0.5)
        hu = shell(window)
        hu += plate * (np.float32(0.7 * tissues.bone + 60) - hu)
        hu += cover * (np.float32(tissues.disc) - hu)
        canvas.blend(window, hu)
    element((14, -12), (36, 12), lambda z, y, x: np.hypot((y - 25) / 0.85, x) - 9.5, tissues.fat * 0.4)
    element((14, -12), (36, 12), lambda z, y, x: np.hypot((y - 24) / 0.85, x) - 7.5, rng.uniform(10, 45))


def _draw_ribs(canvas, patient, tissues, rng):
    start = rng.uniform(0, 26)
    steep = rng.uniform(50, 66)

    def level(z, y, x):
        depth = patient.trunk(z, y, x)
        around = np.abs(np.arctan2(x, y + 25))
        along = np.abs(np.mod(z - start - steep * np.minimum(around, 2.1) + 30 * np.maximum(around - 2.1, 0), 25.5)
                       - 12.75)
        rib = 5.0 * (np.hypot(along / 6.2, (depth - 6.5) / 4.0) - 1)
        reach = np.clip((20 - z) / 38, 0.3, 2.75)
        return np.maximum(np.maximum(rib, 30 * (around - reach)), 25 * (0.42 - around))

    box = Shape((-300, -250, -250), (30, 150, 250), level)
    ribs = canvas.draw(box, 2.6)
    canvas.blend(ribs, bony(canvas, tissues, 1.2, 0.6 * tissues.marrow + 80))
    _, front, _ = patient.outline(np.float32(-200))

    def sternum(z, y, x):
        wide = np.interp(z, [-285, -255, -140, -118], [26, 17, 18, 4])
        return np.maximum(np.maximum(np.abs(patient.trunk(z, y, x) - 6) - 5.0, np.abs(x) - wide), y)

    canvas.paint(Shape((-285, -front - 25, -24), (-118, -front + 15, 24), sternum),
                 bony(canvas, tissues, 1.2, tissues.marrow * 0.7))


def _draw_shoulders(canvas, patient, tissues):
    if canvas.window((-330, -100, -200), (-170, 120, 200)) is None:
        return
    bone = bony(canvas, tissues, 2.0)
    for side in (-1, 1):
        low, high = sorted((side * 50, side * 150))

        def blade(z, y, x, side=side):
            back = 76 - 0.0065 * (x * side - 60) ** 2
            lateral = x * side
            reach = np.maximum(np.abs(lateral - 95 + 0.12 * (z + 250)) - 45 + 0.035 * (170 + z),
                               z + 165 + 0.5 * (lateral - 75))
            return np.maximum(np.abs(y - back) - 3.2, np.maximum(reach * 0.6, -300 - z))

        canvas.paint(Shape((-300, 0, low), (-160, 90, high), blade), bone, 2.5)
        canvas.tubes([(-302, -50, side * 14), (-312, -45, side * 70), (-318, 5, side * 140)], 6.5, bone)
        canvas.paint(ellipsoid((-300, 12, side * 163), (26, 25, 24)), bone)


def _draw_pelvis(canvas, patient, tissues, rng):
    bone = bony(canvas, tissues, 2.4)
    dense = bony(canvas, tissues, 3.5)

    def sacrum(z, y, x):
        middle = np.interp(z, [SACRUM_MM, 185, 230, 262, 290], [4, 28, 58, 64, 50])
        wide = np.interp(z, [SACRUM_MM, 165, 225, 250, 290], [50, 54, 36, 18, 6])
        thick = np.interp(z, [SACRUM_MM, 180, 235, 290], [20, 17, 10, 5])
        bent = y - middle - 10 * (x / 50) ** 2
        return np.maximum(0.8 * thick * (np.hypot(bent / thick, (x / wide) ** 2) - 1), SACRUM_MM - z)

    for side in (-1, 1):
        low, high = sorted((side * 20, side * 165))

        def wing(z, y, x, side=side):
            share = np.clip((58 - y) / 118, 0, 1)
            width = patient.outline(z)[0] + 2
            reach = np.interp(z, [90, 150, 200, 235], [0, -8, -34, -40]) + width
            surface = 40 + (reach - 40) * share**0.8 - 7 * np.sin(2 * np.pi * share) - np.maximum(z - 150, 0) * 0.1
            thick = np.interp(z, [88, 105, 150, 205, 240], [4.5, 4, 3.4, 8, 13])
            thick = thick + 3.5 * (2 * share - 1) ** 4
            crest = 84 + 0.0055 * (y - 2) ** 2 - z
            ends = np.maximum(np.maximum(y - np.interp(z, [90, 160, 200, 235], [60, 62, 40, 24]),
                                         np.interp(z, [90, 140, 190, 235], [-30, -64, -45, -32]) - y),
                              z - 240)
            return np.maximum(np.abs(x * side - surface) * 0.85 - thick, np.maximum(0.8 * crest, ends))

        canvas.paint(Shape((80, -75, low), (245, 70, high), wing), bone, 2.6)
        hip = np.array((HIP_MM, -4.0, side * 86.0))
        canvas.paint(ellipsoid(np.add(hip, (0, 0, -side * 4)), (34, 34, 32)).cut(
            lambda z, y, x, side=side: side * (x - side * 96) - 0.3 * (HIP_MM - z)), dense, 2.6)
        canvas.tubes([(HIP_MM - 5, -28, side * 66), (262, -54, side * 14)], [12, 9], bone)
        canvas.tubes([(268, -52, side * 12), (300, 4, side * 44), (306, 20, side * 56)], [8, 7, 10], bone)
        canvas.tubes([(HIP_MM, 14, side * 74), (300, 24, side * 60)], [16, 14], bone)
        canvas.paint(ellipsoid(hip, (25.4, 25.4, 25.4)), tissues.muscle + 40, 2.6)
        canvas.tubes([(246, 0, side * 96), (270, 8, side * 126)], [14, 15], bone)
        canvas.paint(ellipsoid((262, 18, side * 134), (22, 17, 15)), bone)
        canvas.tubes([(268, 8, side * 128), (330, 4, side * 120), (560, 0, side * 100)], [16, 14.5, 13], dense)
        canvas.paint(ellipsoid(hip, (24, 24, 24)), dense, 2.4)
    canvas.paint(ellipsoid((266, -56, 0), (18, 9, 4)), 90.0, 2.0)  # symphysis
    canvas.paint(Shape((SACRUM_MM, -30, -60), (292, 85, 60), sacrum), bone, 2.6)
    for side in (-1, 1):
        for z, y in ((165, 20), (187, 33), (208, 50)):
            canvas.paint(tube((z, y - 16, side * 18), (z + 4, y + 14, side * 18), 5.0), tissues.fat, 2.0)
    canvas.tubes([(SACRUM_MM, 28, 0), (190, 46, 0), (225, 66, 0)], [9, 7, 4], 5.0)
