"""Draws the torso: body outline, layers of the wall, ribs, spine, muscles of the back, pelvis, and the table.

In: a Patient (sizes in mm) and a Grid. Out: a float32 scan with everything except the organs. Distances come from an
atlas and one real CT; they only need to be realistic enough for a network that separates kidneys from other tissue.
"""

import dataclasses
import typing

import numpy as np

from kits_tf.phantoms import tissues
from kits_tf.phantoms.drawing import POINT_SPREAD_MM, Field, Grid, Shape, edge, ellipsoid, paint, tube

VERTEBRA_MM = 35.0  # distance between vertebrae
DISC_MM = 9.0


@dataclasses.dataclass(frozen=True)
class Patient:
    """Sizes of one body, in mm.

    Attributes:
        half_width_mm: from the midline to the skin at the side.
        back_mm: from the middle of the vertebral body to the skin of the back.
        front_mm: from there to the skin of the belly.
        fat_mm: mean thickness of the fat under the skin.
        wall_mm: thickness of the wall's muscle at the sides.
        roundness: exponent of the outline; 2 is an ellipse, larger values are closer to a rectangle.
        waves: amplitudes of the outline's irregularity, as a share of the radius.
        spine_mm: offset of the vertebrae along z, from 0 to VERTEBRA_MM.
    """

    half_width_mm: float
    back_mm: float
    front_mm: float
    fat_mm: float
    wall_mm: float
    roundness: float
    waves: tuple[float, ...]
    spine_mm: float

    @classmethod
    def random(cls, rng: np.random.Generator, room_mm: float = 0.0) -> typing.Self:
        """Draws a random patient, slim to stout; `room_mm` is extra depth, for example for a giant tumor."""
        half_width = rng.uniform(150, 185)
        fat = rng.uniform(10, 30) + 0.1 * (half_width - 150)
        return cls(
            half_width_mm=half_width + 0.2 * room_mm, back_mm=float(88 + 0.7 * fat),
            front_mm=float(half_width * rng.uniform(0.72, 0.88) + room_mm), fat_mm=float(fat),
            wall_mm=rng.uniform(11, 16), roundness=rng.uniform(2.15, 2.6),
            waves=tuple(rng.normal(0, 0.008, 4).tolist()), spine_mm=rng.uniform(0, VERTEBRA_MM))

    @property
    def inner_half_width_mm(self) -> float:
        """From the midline to the inside of the wall at the side."""
        return self.half_width_mm - 1.05 * self.fat_mm - self.wall_mm

    @property
    def inner_front_mm(self) -> float:
        """From the vertebral body's middle to the inside of the front wall; a positive length, though y is negative."""
        return self.front_mm - 0.9 * self.fat_mm - 0.7 * self.wall_mm

    def layers(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Computes maps of one axial plane, in mm, from positions that broadcast to (y, x).

        Returns:
            (radius, outline, fat, wall): distance of the position and of the skin from the body's middle, in the same
            direction, and the thickness of fat and muscle there.
        """
        half_depth = (self.back_mm + self.front_mm) / 2
        down, left = y - (self.back_mm - half_depth), x + 0 * y
        down = down + 0 * x
        radius = np.hypot(down, left) + np.float32(1e-3)
        power = self.roundness
        outline = radius / ((np.abs(left) / self.half_width_mm) ** power
                            + (np.abs(down) / half_depth) ** power) ** (1 / power)
        angle = np.arctan2(left, down)  # zero at the back, +-pi at the front
        for order, amplitude in enumerate(self.waves, start=2):
            outline = outline * (1 + amplitude * np.cos(order * angle + order * self.spine_mm))
        behind = np.exp(-((angle / 0.5) ** 2))
        outline = outline - 9 * np.exp(-((angle / 0.14) ** 2))  # the furrow over the spine
        fat = self.fat_mm * (1 - 0.1 * np.cos(angle) + 0.25 * np.cos(2 * angle) * np.sin(angle) ** 2) - 3 * behind
        wall = self.wall_mm * (1 - 0.3 * (1 - np.cos(angle)) / 2) + np.maximum(44 - self.wall_mm, 0) * behind
        return radius, outline, np.maximum(fat, 3), wall

    def girth(self, z: np.ndarray) -> np.ndarray:
        """Returns the factor of the body's size at height z; below 1 at the waist."""
        return 1 + 0.03 * np.cos((z - 20) / 75 + np.pi)

    def cavity(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Returns the level of the space inside the wall, in mm; negative inside."""
        radius, outline, fat, wall = self.layers(y, x)
        return radius + fat + wall - outline * self.girth(z)


def draw_torso(grid: Grid, patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """Draws the patient without organs; returns float32 HU of the grid's shape."""
    hu = np.empty(grid.shape, np.float32)
    z, y, x = grid.mesh(grid.whole)
    plane_y, plane_x = y[0], x[0]
    radius, outline, fat, wall = (part.astype(np.float32) for part in patient.layers(plane_y, plane_x))
    side = np.abs(np.arctan2(plane_x, plane_y + 10.0)).astype(np.float32)  # 0 at the back, pi at the front
    # Table and mattress are the same in every slice: shallow troughs under the back.
    trough = plane_y - (patient.back_mm + 9 - plane_x**2 / 900)
    air = np.full(radius.shape, tissues.AIR, np.float32)
    for offset, thickness, value in ((9, 15, tissues.MATTRESS), (18, 2.5, tissues.TABLE), (42, 2, tissues.TABLE)):
        cover = edge(thickness / 2 - np.abs(trough - offset), grid.spacing_mm[1] + POINT_SPREAD_MM)
        cover = cover * (np.abs(plane_x) < 215)
        air += cover * (value - air)
    pixel = np.float32(grid.spacing_mm[1] + POINT_SPREAD_MM)
    septa = Field(rng, (0, -300, -300), (1, 300, 300), 45.0)(np.zeros((1, 1, 1), np.float32), y, x)[0]
    lean = ((0.33 + 0.05 * septa, 0.66 + 0.04 * septa))
    side_share = np.exp(-(((side - 1.7) / 0.5) ** 2))
    rib_start = rng.uniform(0, 28)
    for index, height in enumerate(z.ravel()):
        girth = patient.girth(height)
        depth = outline * np.float32(girth) - radius
        layer = air.copy()
        layer += edge(depth, pixel) * (tissues.SKIN - layer)
        layer += edge(depth - 2, pixel) * (tissues.SUBCUTANEOUS_FAT - layer)
        muscle_depth = depth - fat
        share = muscle_depth / wall
        gap = sum(np.maximum(1 - np.abs(share - line) * wall / 1.3, 0) for line in lean) * side_share
        layer += edge(muscle_depth, pixel) * (tissues.MUSCLE - 90 * gap - layer)
        # Ribs run down and forward around the side, and get shorter toward the waist.
        if height < -15:
            along = np.abs((height - rib_start - 62 * side + 14) % 30 - 14)
            rib = np.hypot(along / 6.5, (muscle_depth - 6) / 4.2)
            reach = np.clip((-15 - height) / 35, 0.3, 2.3)
            cover = edge((1 - rib) * 4, pixel) * (side > 0.62) * edge((reach - side) * 60, 6.0)
            layer += cover * (tissues.SPONGY_BONE + 350 * np.clip(rib, 0, 1) ** 2 - layer)
        layer += edge(muscle_depth - wall, pixel) * (tissues.INNER_FAT - layer)
        hu[index] = layer
    _draw_muscles(hu, grid, patient)
    _draw_spine(hu, grid, patient, rng)
    _draw_pelvis(hu, grid, patient)
    return hu


def psoas(side: int) -> Shape:
    """Returns the psoas muscle, thicker and farther from the spine toward the feet; `side` is -1 right, 1 left."""
    def level(z, y, x):
        size = np.clip(13 + (z + 5) * 0.11, 1, 23)
        return np.hypot((y - 4 + 0.04 * z) / 1.1, x - side * (27 + 0.5 * (size - 13) + 0.07 * z)) - size

    low, high = sorted((0, side * 90))
    return Shape((-110, -40, low), (400, 45, high), level)


def _draw_muscles(hu, grid, patient):
    end = grid.origin_mm[0] + grid.shape[0] * grid.spacing_mm[0]
    for side in (-1, 1):
        def erector(z, y, x, side=side):
            return 25 * (np.sqrt(((y - 50) / 20) ** 2 + ((x - side * 32) / 30) ** 2) - 1) + 0 * z

        span = grid.origin_mm[0], 26, min(0, side * 70)
        # A fat plane around the long muscles of the back, then the muscles.
        for grown, value in ((1.8, -40), (0, tissues.MUSCLE + 3)):
            paint(hu, grid, Shape(span, (end, 78, max(0, side * 70)),
                                  lambda *at, grown=grown, erector=erector: erector(*at) - grown), value)
        paint(hu, grid, ellipsoid((30, 42, side * 72), (75, 7, 17)).cut(
            lambda *at: patient.cavity(*at) - 6), tissues.MUSCLE)  # quadratus lumborum
        paint(hu, grid, psoas(side), tissues.MUSCLE + 4)
        paint(hu, grid, tube((-140, -6, side * 22), (-5, -14, side * 13), 4.5), tissues.MUSCLE)  # crus of the diaphragm


def _draw_spine(hu, grid, patient, rng):
    end = grid.origin_mm[0] + grid.shape[0] * grid.spacing_mm[0]
    thickness = grid.spacing_mm[0]

    def height(z):
        return (z - patient.spine_mm) % VERTEBRA_MM

    def disc(z):
        middle = VERTEBRA_MM - DISC_MM / 2
        away = np.abs((height(z) - middle + VERTEBRA_MM / 2) % VERTEBRA_MM - VERTEBRA_MM / 2)
        return edge(DISC_MM / 2 - away, thickness), np.exp(-(((away - DISC_MM / 2 - 1.5) / (1.2 + thickness / 3)) ** 2))

    grain = Field(rng, (-400, -30, -35), (400, 30, 35), 5.0)

    def column(grown):
        def level(z, y, x):
            waist = 1.5 * np.cos((height(z) - VERTEBRA_MM / 2 + DISC_MM / 2) / VERTEBRA_MM * 2 * np.pi)
            body = np.hypot(y / 16.5, x / 23.5) - 1 + 0.12 * np.exp(-((x / 9) ** 2)) * (y > 0)
            return 19 * body + waist - grown
        return Shape((grid.origin_mm[0], -19, -27), (end, 19, 27), level)

    def shell(z, y, x):
        gap, _ = disc(z)
        return tissues.CORTICAL_BONE * (1 - gap) + tissues.DISC * gap

    def core(z, y, x):
        gap, plate = disc(z)
        bone = tissues.SPONGY_BONE + 22 * grain(z, y, x)
        return bone * (1 - gap) + tissues.DISC * gap + 250 * plate * (1 - gap)

    def arch(z, y, x):
        return 330 - 240 * disc(z)[0] + 0 * (y + x)

    def every(low, high):
        """Returns the level function of the heights between two marks of each vertebra, in mm."""
        return lambda z, y, x: np.abs((height(z) - (low + high) / 2 + VERTEBRA_MM / 2) % VERTEBRA_MM
                                      - VERTEBRA_MM / 2) - (high - low) / 2 + 0 * (y + x)

    def upright(y_mm, x_mm, radius_y, radius_x):
        """Returns an elliptic column through the whole scan."""
        return Shape((grid.origin_mm[0], y_mm - radius_y, x_mm - radius_x), (end, y_mm + radius_y, x_mm + radius_x),
                     lambda z, y, x: 8 * (np.hypot((y - y_mm) / radius_y, (x - x_mm) / radius_x) - 1) + 0 * z)

    paint(hu, grid, upright(26, 0, 16, 19).cut(every(2, 31)), arch)
    paint(hu, grid, upright(55, 0, 17, 3.6).cut(every(8, 29)), arch)  # spinous process
    for side in (-1, 1):
        paint(hu, grid, upright(27, side * 24, 4, 17).cut(every(8, 18)), arch)  # transverse processes
        paint(hu, grid, upright(32, side * 15, 7, 7), arch)  # facet joints
    paint(hu, grid, column(0.0), shell)
    paint(hu, grid, column(-2.2), core)
    paint(hu, grid, upright(25, 0, 9.5, 11.5), -20.0)  # fat around the dural sac
    paint(hu, grid, upright(25, 0, 7.5, 9.5), tissues.SPINAL_CANAL)


def _draw_pelvis(hu, grid, patient):
    """Draws the wings of the iliac bones between their muscles, from 100 mm below the middle of the kidneys."""
    for side in (-1, 1):
        def level(z, y, x, side=side):
            """Distance from the middle of the bone."""
            share = np.clip((52 - y) / 95, 0, 1)
            surface = 42 + (patient.inner_half_width_mm + 4 - 42) * share**0.8 - 0.12 * (z - 110)
            return np.abs(x * side - surface)

        def ends(z, y, grown):
            return np.maximum(100 + 0.0035 * (y - 10) ** 2 - grown - z, np.maximum(y - 60, -35 - y))

        low, high = sorted((side * 25, side * patient.half_width_mm))
        for thickness, grown, value in ((17, 0, tissues.MUSCLE), (4.5, 0, 480.0), (2.2, -3, 230.0)):
            def slab(z, y, x, level=level, thickness=thickness, grown=grown):
                return np.maximum(np.maximum(level(z, y, x) - thickness, ends(z, y, grown)),
                                  patient.cavity(z, y, x) - patient.wall_mm)

            paint(hu, grid, Shape((96, -40, low), (450, 64, high), slab), value)
