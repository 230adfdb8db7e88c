"""Simulates the scanner: field of view and voxels, position of the patient, table, blur, noise, streaks, padding.

In: the synthetic tissue. Out: int16 HU. Ranges are wider than in clinical routine: 0.5 to 10 mm slices, smooth kernels
to sharp lung kernels, full dose to the low-dose CT of a PET/CT.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from kits_tf.phantoms.artifacts import RAYS, noise_scale, radius_in, rays_from
from kits_tf.phantoms.body.canvas import Canvas, Pose
from kits_tf.phantoms.body.patient import Patient
from kits_tf.phantoms.drawing import Grid
from kits_tf.volume import AIR_HU

MAX_SLICES = 180  # longer scans get thicker slices or show less, to limit the time per patient
#            name               share  top (from, to)   bottom (from, to)
FIELDS = (("abdomen and pelvis", 0.3, (-150, -85), (255, 350)),
          ("abdomen", 0.2, (-150, -80), (90, 180)),
          ("kidneys", 0.12, (-90, -50), (65, 110)),
          ("upper abdomen", 0.08, (-150, -100), (10, 60)),
          ("chest to pelvis", 0.1, (-330, -280), (260, 350)),
          ("neck to thighs", 0.06, (-430, -330), (300, 430)),
          ("chest", 0.05, (-340, -280), (-60, 20)),
          ("slab", 0.03, (-60, 20), (30, 60)),
          ("chest without kidneys", 0.03, (-340, -260), (-130, -95)),
          ("pelvis", 0.03, (110, 170), (300, 420)))


@dataclasses.dataclass(frozen=True)
class View:
    """Settings of one scan.

    Attributes:
        name: name of the field of view.
        grid: Grid in the table's frame.
        pose: position of the patient in it.
        noise_hu: standard deviation of the noise in the middle of the body.
        kernel: blur in mm; negative for a kernel that sharpens.
        kilovolts: tube voltage; contrast medium and bone are brighter at low voltage.
        padding: HU outside the reconstructed circle, or None for a square image.
        streaks: number of streak sources.
    """

    name: str
    grid: Grid
    pose: Pose
    noise_hu: float
    kernel: float
    kilovolts: int
    padding: int | None
    streaks: int

    @property
    def notes(self) -> dict:
        """The settings to record in study.json."""
        return {"field": self.name, "noise_hu": round(self.noise_hu, 1), "kernel_mm": round(self.kernel, 2),
                "kilovolts": self.kilovolts, "streaks": self.streaks, "padding": self.padding, "prone": self.pose.prone}


def plan_view(rng: np.random.Generator, patient: Patient, size_voxels: int, slice_mm: tuple[float, float],
              field_mm: tuple[float, float] | None) -> View:
    """Chooses random scanner settings for a patient.

    Args:
        rng: NumPy random generator.
        patient: the Patient.
        size_voxels: voxels along y and along x.
        slice_mm: range of the distance between slices.
        field_mm: range of the field of view; None for 0.75 to 1.6 times the body's width.
    """
    index = int(rng.choice(len(FIELDS), p=[field[1] for field in FIELDS]))
    name, _, tops, bottoms = FIELDS[index]
    top, bottom = rng.uniform(*tops) * patient.stretch, rng.uniform(*bottoms) * patient.stretch
    low, high = slice_mm
    thickness = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    thickness = min(max(round(thickness * 4) / 4, low, (bottom - top) / MAX_SLICES), high)
    depth = max(int((bottom - top) / thickness), 6)
    if depth > MAX_SLICES:  # keep the part near the kidneys
        depth = MAX_SLICES
        middle = float(rng.normal(0, 60))
        top = float(np.clip(middle - depth * thickness / 2, top, bottom - depth * thickness))
    body = 2 * (patient.half_width_mm + patient.wall_mm + patient.fat_mm)
    field = rng.uniform(*field_mm) if field_mm else body * rng.choice(
        [rng.uniform(0.75, 0.98), rng.uniform(1.0, 1.25), rng.uniform(1.25, 1.6)], p=[0.15, 0.65, 0.2])
    pixel = round(field / size_voxels, 4)
    half = pixel * (size_voxels - 1) / 2
    side = 0.0
    if field < 0.75 * body:  # a small field shows one side of the body
        side = float(rng.choice([-1, 1]) * rng.uniform(20, 70))
    middle = rng.uniform(-12, 12) - 0.22 * (patient.front_mm - patient.back_mm) * (field > 0.75 * body)
    grid = Grid((depth, size_voxels, size_voxels), (thickness, pixel, pixel),
                (float(top), float(middle - half), float(side + rng.uniform(-15, 15) - half)))
    low_dose = rng.random() < 0.15
    noise = rng.uniform(22, 45)
    if not low_dose:
        noise = rng.lognormal(np.log(11), 0.4) * np.clip(3 / thickness, 0.4, 2.5) ** 0.3
    kernel = rng.choice([rng.uniform(0.3, 0.7), rng.uniform(0.7, 1.3), -rng.uniform(0.5, 1.0)], p=[0.5, 0.35, 0.15])
    return View(name, grid, _pose(rng, patient), float(np.clip(noise, 2, 50)),
                float(kernel),
                int(rng.choice([80, 100, 120, 140], p=[0.1, 0.25, 0.5, 0.15])),
                (int(rng.choice([-1024, -2000, -3024, -1000, 0], p=[0.5, 0.2, 0.1, 0.15, 0.05]))
                 if rng.random() < 0.35 else None), int(rng.choice([0, 1, 2], p=[0.72, 0.2, 0.08])))


def _pose(rng, patient):
    """Returns a slightly rotated and deformed pose; one patient in fifteen lies more obliquely, 3% lie prone."""
    spread = (0.12, 0.06, 0.06) if rng.random() < 1 / 15 else (0.04, 0.03, 0.03)
    roll, nod, sway = rng.normal(0, spread)
    rotation = np.eye(3)
    for (one, other), angle in (((1, 2), roll), ((0, 1), nod), ((0, 2), sway)):
        turn = np.eye(3)
        turn[one, one] = turn[other, other] = np.cos(angle)
        turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ turn
    return Pose(np.diag([1 / patient.stretch, 1.0, 1.0]) @ rotation, rng.uniform(1.5, 6.0), rng.uniform(55, 110),
                bool(rng.random() < 0.03))


def draw_table(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Draws table and mattress in the table's frame; in some scans a cushion for arms or head, or a wire."""
    grid = canvas.grid
    _, y, x = grid.mesh(grid.whole)
    if canvas.prone:
        y = -y
    under = patient.front_mm + 8 if canvas.prone else patient.back_mm + 30 * patient.fitness
    back = under + patient.fat_mm + rng.uniform(6, 22)
    hollow = rng.choice([0.0, rng.uniform(1 / 1600, 1 / 700)])
    trough = y[0] - (back - hollow * x[0] ** 2)
    shells = [(0, rng.uniform(4, 20), rng.uniform(-980, -880)), (rng.uniform(10, 20), rng.uniform(1, 4),
                                                                 rng.uniform(-700, 300))]
    if rng.random() < 0.6:
        shells.append((rng.uniform(30, 60), rng.uniform(1, 4), rng.uniform(-700, 250)))
    half_width = rng.uniform(190, 270)
    plane = np.full(trough.shape, -1000.0, np.float32)
    for offset, thick, value in shells:
        cover = np.clip(0.5 + (thick / 2 - np.abs(trough - offset)) / (grid.spacing_mm[1] + 0.8), 0, 1)
        plane += cover * (np.abs(x[0]) < half_width) * (np.float32(value) - plane)
    if rng.random() < 0.2:
        cushion = (np.abs(trough + 45) < 45) & (np.abs(x[0]) > rng.uniform(130, 200)) & (np.abs(x[0]) < half_width)
        plane[cushion] = np.maximum(plane[cushion], rng.uniform(-985, -850))
    if rng.random() < 0.15:  # a wire or an infusion line on the table or the skin
        spot = np.hypot(y[0] - back + 8, x[0] - rng.uniform(-120, 120))
        plane += np.clip(2.5 - spot, 0, 1) * np.float32(rng.uniform(300, 2500))
    canvas.hu[:] = np.maximum(canvas.hu, plane)


def scan(canvas: Canvas, view: View, rng: np.random.Generator) -> np.ndarray:
    """Blurs, adds noise and streaks, cuts the field of view, and rounds.

    Returns:
        int16 HU, not below AIR_HU except in the padding.
    """
    grid, hu = canvas.grid, canvas.hu
    pixel, thickness = grid.spacing_mm[1], grid.spacing_mm[0]
    if rng.random() < 0.4 and thickness < 6:  # overlapping slices or a high pitch
        hu = ndimage.uniform_filter1d(hu, 3, axis=0, mode="nearest") * np.float32(0.5) + hu * np.float32(0.5)
    blur = abs(view.kernel) / pixel
    sharpen = view.kernel < 0
    crisp = rng.uniform(0.2, 0.8)
    # The noise's grain follows the kernel: fine for sharp kernels, coarse for smooth ones.
    grain = max(0.35, blur * (0.55 if sharpen else 0.9))
    scale = noise_scale(rng, view.noise_hu * (1 + 2 * crisp if sharpen else 1.0), grain)
    _, y, x = grid.mesh(grid.whole)
    depth = np.exp(-((y[0] + 10) / 150) ** 2 - (x[0] / 180) ** 2).astype(np.float32)
    strength = scale * (0.4 + 0.6 * depth)
    streaks = [_streak(canvas, rng) for _ in range(view.streaks)]
    shared = float(np.clip(1 - thickness / 2.5, 0, 0.6))
    rows_share = rng.uniform(0, 0.5) if view.noise_hu < 20 else rng.uniform(0.3, 1.3)
    outside = radius_in(grid) > rng.uniform(0.46, 0.52) if view.padding is not None else None
    voxels = np.empty(hu.shape, np.int16)
    # Calibration error, and shading across the body from imperfectly corrected scatter and beam hardening.
    tilt_y, tilt_x = rng.normal(0, 0.015, 2)
    shading = tilt_y * y[0] + tilt_x * x[0] - rng.uniform(-4, 5) * depth + rng.normal(0, 3)
    offset = shading.astype(np.float32)
    before = np.float32(0)
    for index, layer in enumerate(hu):
        if sharpen:
            layer = layer + np.float32(crisp) * (layer - ndimage.gaussian_filter(layer, max(blur, 0.6), truncate=2.5))
        elif blur > 0.25:
            layer = ndimage.gaussian_filter(layer, blur, truncate=2.5)
        white = rng.standard_normal(layer.shape, dtype=np.float32)
        noise = ndimage.gaussian_filter(white, grain, mode="wrap", truncate=2.5)
        before = np.float32(np.sqrt(1 - shared**2)) * noise + np.float32(shared) * before
        rows = ndimage.uniform_filter1d(noise, 41, axis=1, mode="wrap")
        layer = layer + (strength * (before + rows * np.float32(rows_share)) + offset)
        for streak in streaks:
            streak(index, layer)
        layer = np.clip(layer, AIR_HU, 3071)
        if outside is not None:
            layer[outside] = view.padding
        voxels[index] = np.rint(layer)
    return voxels


def _streak(canvas, rng):
    """Returns a function of (slice, layer) that adds dark and bright rays around one source.

    The source is an arm or the brightest pixel of a slice: metal, barium or bone.
    """
    grid = canvas.grid
    middle = int(rng.uniform(0.1, 0.9) * grid.shape[0])
    inside = rng.random() < 0.6
    source = (rng.uniform(-60, 60), rng.choice([-1, 1]) * rng.uniform(150, 230))
    if inside:
        row, column = np.unravel_index(int(canvas.hu[middle].argmax()), grid.shape[1:])
        source = (grid.origin_mm[1] + row * grid.spacing_mm[1], grid.origin_mm[2] + column * grid.spacing_mm[2])
    ray, fade = rays_from(grid, source, inside)
    half = max(rng.uniform(6, 40) / grid.spacing_mm[0], 0.6)
    height = rng.uniform(20, 90)

    def streak(index, layer):
        share = 1 - abs(index - middle) / half
        if share > 0:
            wave = ndimage.gaussian_filter1d(rng.standard_normal(RAYS, dtype=np.float32), 6.0, mode="wrap")
            layer += np.float32(height * min(2 * share, 1) / wave.std() * 0.6) * fade * wave[ray]

    return streak
