"""Draws the tissue of kidneys into a scan: cortex, pyramids, sinus, cysts and tumors, in HU.

The tissue functions need only a voxel's depth under the kidney's surface, so they serve both the shapes of a Plan and
shapes from label files.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from kits_tf import labels
from kits_tf.phantoms import organs, tissues
from kits_tf.phantoms.drawing import Field, Grid, Shape, edge, paint, tube
from kits_tf.phantoms.kidneys import Plan


def kidney_tissue(rng: np.random.Generator, phase: tissues.Phase, low_mm: Sequence[float],
                  high_mm: Sequence[float]) -> Callable:
    """Makes the texture of parenchyma inside a block.

    Returns:
        A function of (depth_mm, z, y, x) that gives HU: cortex under the surface and in columns between the pyramids
        of medulla.
    """
    columns = Field(rng, low_mm, high_mm, 9.0)
    grain = Field(rng, low_mm, high_mm, 4.0)

    def value(depth_mm, *at):
        pyramid = edge(depth_mm - 7.5, 4.0) * edge(columns(*at) + 0.5, 0.7)
        return phase.cortex + pyramid * (phase.medulla - phase.cortex) + 4 * grain(*at)

    return value


def tumor_tissue(rng: np.random.Generator, phase: tissues.Phase, low_mm: Sequence[float], high_mm: Sequence[float],
                 radius_mm: float, darkness: float, necrosis: float, spread_hu: float, rim_hu: float = 0.0) -> Callable:
    """Makes the texture of a tumor inside a block.

    Args:
        rng: NumPy random generator.
        phase: Phase of the contrast medium.
        low_mm, high_mm: corners of the block.
        radius_mm: mean radius of the tumor.
        darkness: position of the mean HU in the phase's range, 0 (darkest) to 1.
        necrosis: share of the radius that is necrotic, from the center.
        spread_hu: variation inside the tumor.
        rim_hu: HU added at the rim.

    Returns:
        A function of (depth, z, y, x) that gives HU; depth is 0 at the surface and 1 in the middle.
    """
    low, high = phase.tumor
    mean = low + darkness * (high - low)
    nodules = Field(rng, low_mm, high_mm, float(np.clip(0.4 * radius_mm, 4, 14)))

    def value(depth, *at):
        knots = nodules(*at)
        dead = edge(depth - (1 - necrosis) + 0.15 * knots, 0.15) if necrosis else 0.0
        living = mean + spread_hu * knots + rim_hu * edge(0.25 - depth, 0.2)
        return living + dead * (tissues.NECROSIS - living)

    return value


def draw_plan(hu: np.ndarray, label_voxels: np.ndarray, grid: Grid, plan: Plan, phase: tissues.Phase,
              rng: np.random.Generator) -> None:
    """Draws kidneys, tumors and cysts into a scan and its labels, both in place.

    Args:
        hu: float32 (z, y, x).
        label_voxels: uint8 (z, y, x); a voxel gets the class that covers more than half of it, tumor before kidney.
        grid: the scan's Grid.
        plan: a Plan, see plan_case.
        phase: Phase of the contrast medium.
        rng: NumPy random generator.
    """
    halo = rng.uniform(3, 11)
    for kidney in plan.kidneys:
        _fat(hu, grid, kidney.outline, halo, rng)
    for shape in plan.bridges:
        _fat(hu, grid, shape, 4.0, rng)
    for tumor in plan.tumors:
        _fat(hu, grid, tumor.shape, rng.uniform(1.5, 4), rng)
    for kidney in plan.kidneys:
        _sinus(hu, grid, kidney, phase, rng)
    for shape in plan.bridges:
        value = kidney_tissue(rng, phase, shape.low_mm, shape.high_mm)
        _label(label_voxels, paint(hu, grid, shape, lambda *at, shape=shape, value=value: value(
            -shape.level(*at), *at)), labels.KIDNEY)
    for kidney in plan.kidneys:
        value = kidney_tissue(rng, phase, kidney.outline.low_mm, kidney.outline.high_mm)
        _label(label_voxels, paint(hu, grid, kidney.body, lambda *at, kidney=kidney, value=value: value(
            -kidney.outline.level(*at), *at)), labels.KIDNEY)
    for shape in plan.cysts:
        _label(label_voxels, paint(hu, grid, shape, tissues.CYST + rng.uniform(-6, 6)), labels.KIDNEY)
    for tumor in plan.tumors:
        value = tumor_tissue(rng, phase, tumor.shape.low_mm, tumor.shape.high_mm, tumor.radius_mm, tumor.darkness,
                             tumor.necrosis, tumor.spread_hu)
        _label(label_voxels, paint(hu, grid, tumor.shape, lambda *at, tumor=tumor, value=value: value(
            -tumor.shape.level(*at) / tumor.radius_mm, *at)), labels.TUMOR)


def _label(label_voxels, drawn, class_id):
    if drawn is not None:
        window, cover = drawn
        label_voxels[window][cover > 0.5] = class_id


def _fat(hu, grid, shape, thickness_mm, rng):
    """Draws fat of uneven thickness around a shape."""
    reach = thickness_mm * 2
    low, high = np.subtract(shape.low_mm, reach), np.add(shape.high_mm, reach)
    uneven = Field(rng, low, high, 25.0)

    def level(*at):
        return shape.level(*at) - thickness_mm * (1 + 0.35 * uneven(*at))

    paint(hu, grid, Shape(tuple(low), tuple(high), level), tissues.INNER_FAT)


def _sinus(hu, grid, kidney, phase, rng):
    """Draws the sinus fat, the renal pelvis, the ureter, and the vessels to vena cava and aorta."""
    paint(hu, grid, kidney.sinus, tissues.INNER_FAT + 15)
    door, inner = kidney.place(0.05, -0.05, -1.0), kidney.place(0.0, 0.0, -0.45)
    cava, aorta = (np.array([door[0] - 6, *place]) for place in (organs.VENA_CAVA_MM, organs.AORTA_MM))
    if kidney.side > 0:  # the left vein crosses in front of the aorta
        front = np.array([door[0] - 4, organs.AORTA_MM[0] - 14, organs.AORTA_MM[1]])
        paint(hu, grid, tube(cava, front, 4.5), phase.vein)
        paint(hu, grid, tube(front, door, 4.5), phase.vein)
    else:
        paint(hu, grid, tube(cava, door, 4.5), phase.vein)
    paint(hu, grid, tube(aorta, door + np.array([0, 5, 0]), 3.0), phase.artery)
    paint(hu, grid, tube(door, inner, 4.0), phase.vein)
    pelvis = kidney.place(0.2, 0.15, -0.95)
    paint(hu, grid, tube(pelvis, kidney.place(0.05, 0.05, -0.5), 5.0, 3.5), phase.urine)
    ureter = [pelvis, (pelvis[0] + 40, 0, kidney.side * 40), (pelvis[0] + 130, -5, kidney.side * 38)]
    for start, stop in itertools.pairwise(ureter):
        paint(hu, grid, tube(start, stop, 2.2), phase.urine + 20)
    for along in rng.uniform(-0.35, 0.35, 3):  # calyces and their vessels
        paint(hu, grid, tube(inner, kidney.place(along, rng.uniform(-0.2, 0.2), -0.25), 2.5),
              rng.choice([phase.urine, phase.vein]))
