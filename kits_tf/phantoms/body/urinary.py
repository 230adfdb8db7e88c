"""Draws renal vessels, calyces, renal pelvis and ureters, with hydronephrosis, stones, stents and nephrostomy drains.

Fluid and walls of the collecting system are labeled background.
"""

import numpy as np
from numpy.typing import ArrayLike

from kits_tf.labels import BACKGROUND
from kits_tf.phantoms.body.canvas import Canvas
from kits_tf.phantoms.body.kidneys import Kidney
from kits_tf.phantoms.body.tissues import Tissues
from kits_tf.phantoms.drawing import ellipsoid


def draw_vessels(canvas: Canvas, tissues: Tissues, kidney: Kidney, rng: np.random.Generator) -> None:
    """Draws artery and vein from the great vessels to the hilum, and their branches in the sinus."""
    door = kidney.place(0.0, -0.1, -1.05)
    inner = kidney.place(0.0, 0.0, -0.55)
    z = float(np.clip(door[0] - 8, -30, 75))
    low = kidney.centre_mm[0] > 100
    cava = np.array([z, -26.0, -20.0]) if not low else np.array([125.0, -14.0, kidney.side * 18.0])
    aorta = np.array([z - 4, -27.0, 7.0]) if not low else np.array([118.0, -20.0, kidney.side * 14.0])
    behind = np.add(door, (0, 6, 0))
    thick = rng.uniform(3.5, 6.0)
    if kidney.side > 0 and not low:
        front = np.array([z - 4, -43.0, 4.0])
        course: list[ArrayLike] = [np.add(cava, (0, -6, 4)), front, (z, -32, 26), door]
        canvas.tubes(course, [thick, thick * 0.8, thick, thick], tissues.vein)
        canvas.tubes([aorta, behind], rng.uniform(2.2, 3.4), tissues.artery)
    else:
        canvas.tubes([cava, door], thick, tissues.vein)
        canvas.tubes([aorta, np.add(cava, (0, 14, 0)), behind] if not low else [aorta, door], rng.uniform(2.2, 3.4),
                     tissues.artery)
    canvas.tubes([door, inner], [thick, thick * 0.7], tissues.vein)
    for _ in range(6):
        stop = kidney.place(rng.uniform(-0.5, 0.5), rng.uniform(-0.3, 0.3), rng.uniform(-0.4, -0.05))
        canvas.tubes([inner, stop], [thick * 0.5, 1.2], tissues.vein if rng.random() < 0.6 else tissues.artery)


def draw_collecting_system(canvas: Canvas, tissues: Tissues, kidney: Kidney, rng: np.random.Generator) -> list[str]:
    """Draws calyces, renal pelvis and the ureter to the bladder, with stones and devices; returns findings."""
    notes = []
    size = float(kidney.radii_mm[1] / 24)
    obstructed = rng.random() < 0.12
    extrarenal = rng.random() < 0.1
    widen = rng.uniform(1.6, 3.6) if obstructed else rng.uniform(0.7, 1.15)
    urine = tissues.urine if not obstructed else min(tissues.urine, rng.uniform(0, 60))
    if obstructed:
        notes.append("hydronephrosis")
    middle = kidney.place(0.06, 0.12, -0.72)
    exit_ = np.add(kidney.place(0.2, 0.12, -1.12), (4, 0, 0))

    def within(shape):
        """Limits a shape to the sinus; obstructed calyces extend into the parenchyma."""
        return shape.cut((lambda *at: kidney.outline.level(*at) + 6) if obstructed else kidney.sinus.level)

    wall = tissues.muscle
    radii = np.array([rng.uniform(9, 13), rng.uniform(4.5, 6.5), rng.uniform(6, 9)]) * size * widen
    pelvis = ellipsoid(middle, radii, kidney.axes)
    calyces = []
    for _ in range(int(rng.integers(5, 9))):
        stop = kidney.place(rng.uniform(-0.6, 0.6), rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.0))
        calyces.append(stop)
        if obstructed:
            radius = rng.uniform(2.4, 4.2) * size * widen
            canvas.paint(within(ellipsoid(stop, (radius,) * 3)), urine, 2.0, label=BACKGROUND)
        canvas.tubes([middle, stop], [2.4 * widen ** 0.6, (1.3 if not obstructed else 3.0) * size], urine, BACKGROUND)
    canvas.paint(pelvis if obstructed else within(pelvis), urine, 2.0, label=BACKGROUND)
    if extrarenal or obstructed:
        beyond = kidney.place(0.15, 0.1, -1.2) - np.array([0, 0, 3.0 * kidney.side])
        wide = rng.uniform(7, 13) * (widen**0.5 if obstructed else 1.0)
        canvas.paint(ellipsoid(beyond, (wide * 1.5, wide * 0.85, wide)), wall, 2.5, label=BACKGROUND)
        canvas.paint(ellipsoid(beyond, (wide * 1.5 - 1.2, wide * 0.85 - 1.2, wide - 1.2)), urine, 2.5)
        if extrarenal:
            notes.append("extrarenal pelvis")
        exit_ = np.add(beyond, (wide, 0, 0))
    course: list[ArrayLike] = [middle, exit_, (exit_[0] + 30, -14, kidney.side * 42), (95, -26, kidney.side * 44),
              (155, -32, kidney.side * 38), (205, 5, kidney.side * 52), (236, -6, kidney.side * 14)]
    if kidney.centre_mm[0] > 100:
        course = [middle, exit_, (236, -6, kidney.side * 14)]
    thick = rng.uniform(3, 6) if obstructed else rng.uniform(1.4, 2.4)
    canvas.tubes(course[1:], thick, wall, BACKGROUND)
    canvas.tubes(course, thick * (0.75 if obstructed else 0.55), urine, BACKGROUND)
    if rng.random() < 0.17:
        notes.append("stones")
        for _ in range(int(rng.integers(1, 6))):
            spot = calyces[int(rng.integers(len(calyces)))] if rng.random() < 0.75 else np.asarray(
                course[int(rng.integers(len(course) - 1))])
            canvas.paint(ellipsoid(spot, rng.uniform(1.0, 5.5, 3)), rng.uniform(180, 1400), 1.2)
        if rng.random() < 0.08:  # staghorn
            for stop in calyces:
                canvas.tubes([middle, stop], 4.0, rng.uniform(500, 1200))
    if rng.random() < 0.05:
        notes.append("ureteral stent")
        canvas.tubes([calyces[0], *course], 1.2, 1500.0)
    if obstructed and rng.random() < 0.15:
        notes.append("nephrostomy")
        skin = kidney.centre_mm[0] + 20, 150, kidney.side * 95
        canvas.tubes([middle, kidney.place(0.1, 1.2, 0.6), skin], 1.6, 700.0)
    if rng.random() < 0.12:  # parapelvic cysts: fluid in the sinus
        notes.append("parapelvic cysts")
        for _ in range(int(rng.integers(1, 5))):
            radius = rng.uniform(4, 13)
            spot = kidney.place(rng.uniform(-0.35, 0.35), rng.uniform(-0.2, 0.2), -0.5)
            canvas.paint(ellipsoid(spot, rng.uniform(0.8, 1.2, 3) * radius).cut(
                lambda *at: kidney.sinus.level(*at) - 1), rng.uniform(-5, 25), 2.0, label=BACKGROUND)
    return notes
