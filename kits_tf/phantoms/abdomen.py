"""Draws one abdominal CT and its labels from a seed.

In: a seed, a kind of case, and the scanner's settings. Out: two Volumes in the canonical orientation, on one grid.
Kidneys and tumors depend on the seed and the kind only. The scanner's settings choose the voxel grid and change the
texture of the surrounding tissue.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from kits_tf.phantoms import tissues
from kits_tf.phantoms.artifacts import noise_scale, scan_hard
from kits_tf.phantoms.drawing import Grid
from kits_tf.phantoms.kidneys import CYCLE, GIANT, HARD_KINDS, ORDINARY, plan_case
from kits_tf.phantoms.organs import draw_organs
from kits_tf.phantoms.parenchyma import draw_plan
from kits_tf.phantoms.torso import Patient, draw_torso
from kits_tf.volume import AIR_HU, Volume

__all__ = ["HARD_KINDS", "ORDINARY", "Scanner", "draw_abdomen", "kind_of", "scan"]


@dataclasses.dataclass(frozen=True)
class Scanner:
    """Settings of the scanner.

    Attributes:
        size_voxels: voxels along y and along x.
        slice_mm: range of the distance between slices; each case draws its own value, in steps of 0.5 mm.
        noise_hu: range of the noise's standard deviation.
    """

    size_voxels: int = 512
    slice_mm: tuple[float, float] = (1.0, 5.0)
    noise_hu: tuple[float, float] = (8.0, 18.0)

    def __post_init__(self):
        if self.size_voxels < 32:
            raise ValueError(f"size_voxels must be 32 or more, got {self.size_voxels}")
        low, high = self.slice_mm
        if not 0.1 <= low <= high <= 20:
            raise ValueError(f"slice_mm must be two rising numbers from 0.1 to 20, got {self.slice_mm}")


def kind_of(index: int) -> str:
    """Returns the kind of the case with this index; any twelve cases in a row include every one of HARD_KINDS."""
    return CYCLE[index % len(CYCLE)]


def draw_abdomen(seed: int | tuple[int, ...], kind: str = ORDINARY, scanner: Scanner | None = None,
                 hard: tissues.Phase | None = None) -> tuple[Volume, Volume]:
    """Draws a scan and its labels.

    Args:
        seed: int or tuple of ints; the same arguments give the same voxels.
        kind: ORDINARY or one of HARD_KINDS.
        scanner: a Scanner; None for the default.
        hard: a Phase of tissues.HARD_PHASES, which also adds the noise and artifacts of artifacts.py; None for an
            easy phase and uniform noise.

    Returns:
        (ct, labels): Volumes of int16 HU and of uint8 classes. Every case has a tumor.

    Raises:
        ValueError: if the kind is unknown.
    """
    scanner = scanner or Scanner()
    # Separate random streams for patient and scan: the same kidneys appear on a finer grid.
    patient_rng, drawing_rng, scan_rng = np.random.default_rng(seed).spawn(3)
    patient = Patient.random(patient_rng, room_mm=45.0 if kind == GIANT else 0.0)
    plan = plan_case(patient_rng, patient, kind)
    phase = tissues.PHASES[int(patient_rng.random() > 0.6)]
    phase = tissues.vary(hard or phase, patient_rng)
    grid = _grid(patient, plan, scanner, patient_rng)
    hu = draw_torso(grid, patient, drawing_rng)
    upper_pole = min(kidney.centre_mm[0] - kidney.radii_mm[0] for kidney in plan.kidneys)
    draw_organs(hu, grid, patient, phase, drawing_rng, upper_pole)
    label_voxels = np.zeros(grid.shape, np.uint8)
    draw_plan(hu, label_voxels, grid, plan, phase, drawing_rng)
    ct = scan_hard(hu, grid, scan_rng, label_voxels.any(axis=0)) if hard else scan(hu, scanner, scan_rng)
    volume = Volume.from_spacing(ct, grid.spacing_mm)
    return volume, volume.with_voxels(label_voxels)


def _grid(patient, plan, scanner, rng):
    """Returns a Grid from above the kidneys, often with the lung bases, to the pelvis."""
    field_mm = max(2 * patient.half_width_mm, patient.back_mm + patient.front_mm) + rng.uniform(12, 60)
    top = min(*(kidney.outline.low_mm[0] for kidney in plan.kidneys),
              *(tumor.shape.low_mm[0] for tumor in plan.tumors)) - rng.uniform(20, 60)
    bottom = max(*(kidney.outline.high_mm[0] for kidney in plan.kidneys),
                 *(tumor.shape.high_mm[0] for tumor in plan.tumors)) + rng.uniform(15, 60)
    low, high = scanner.slice_mm
    thickness = min(max(round(rng.uniform(low, high) * 2) / 2, low), high)
    pixel = round(field_mm / scanner.size_voxels, 4)
    middle_y = (patient.back_mm - patient.front_mm) / 2 + rng.uniform(-6, 14)
    size = scanner.size_voxels
    half = pixel * (size - 1) / 2
    return Grid((int(np.ceil((bottom - top) / thickness)), size, size), (thickness, pixel, pixel),
                (float(top), float(middle_y - half), float(rng.uniform(-6, 6) - half)))


def scan(hu: np.ndarray, scanner: Scanner, rng: np.random.Generator) -> np.ndarray:
    """Adds noise that is correlated within each slice, then rounds to integers.

    Args:
        hu: float32 (z, y, x); changed in place.
        scanner: a Scanner.
        rng: NumPy random generator.

    Returns:
        int16 HU, not below AIR_HU.
    """
    spread = rng.uniform(*scanner.noise_hu)
    grain = rng.uniform(0.45, 0.8)  # pixels; reconstruction filters differ in smoothing
    scale = noise_scale(rng, spread, grain)
    voxels = np.empty(hu.shape, np.int16)
    for index, layer in enumerate(hu):
        noise = rng.standard_normal(layer.shape, dtype=np.float32)
        layer += scale * ndimage.gaussian_filter(noise, grain, mode="wrap", truncate=2.5)
        voxels[index] = np.rint(np.clip(layer, AIR_HU, 3071))
    return voxels
