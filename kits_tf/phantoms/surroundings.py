"""Draws the surroundings of a kidney from a label file: fat of uneven thickness, vessels, and adjacent organs.

In: the scan, changed in place, one Piece of the labels and its Grid. Kidneys are drawn later and cover all of this, so
the surroundings cannot make a label wrong.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from kits_tf import labels
from kits_tf.phantoms import organs, tissues
from kits_tf.phantoms.drawing import Field, Grid, blend, edge, ellipsoid, paint, tube
from kits_tf.phantoms.torso import Patient

CYSTS = 1.2  # per 100 ml of kidney, on average
SINUS = 0.52  # background voxels with at least this closeness belong to the sinus
HALO_MM = 9.0  # maximum thickness of the fat around kidneys and tumors


@dataclasses.dataclass(frozen=True)
class Piece:
    """One connected component of the foreground.

    Attributes:
        box: slices of the scan that contain it.
        voxels: uint8 classes within the box, without other components.
        ml: its volume.
    """

    box: tuple[slice, slice, slice]
    voxels: np.ndarray
    ml: float

    def within(self, grid: Grid, reach_mm: float) -> tuple[tuple[slice, ...], np.ndarray]:
        """Returns (window, voxels): the box grown by `reach_mm` on every side, cut at the grid's edge."""
        room = [int(np.ceil(reach_mm / step)) for step in grid.spacing_mm]
        window = tuple(slice(max(part.start - more, 0), min(part.stop + more, size))
                       for part, more, size in zip(self.box, room, grid.shape, strict=True))
        voxels = np.zeros([part.stop - part.start for part in window], np.uint8)
        voxels[tuple(slice(part.start - base.start, part.stop - base.start)
                     for part, base in zip(self.box, window, strict=True))] = self.voxels
        return window, voxels


def closeness(inside: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Returns the share of kidney around each voxel, 0 to 1: above one half in the sinus, small a few mm outside."""
    near = inside.astype(np.float32)
    for _ in range(2):
        near = ndimage.uniform_filter(near, [max(1, round(HALO_MM / step)) for step in spacing], mode="nearest")
    return near


def draw_fat(hu: np.ndarray, piece: Piece, grid: Grid, rng: np.random.Generator) -> None:
    """Draws fat with strands around a piece; its thickness varies from zero, where organs touch, to HALO_MM."""
    window, voxels = piece.within(grid, 2 * HALO_MM)
    near = closeness(labels.foreground(voxels), grid.spacing_mm)
    mesh = grid.mesh(window)
    low, high = _corners(mesh)
    uneven = Field(rng, low, high, 30.0)(*mesh)
    threshold = np.clip(0.24 + 0.16 * uneven, 0.06, 0.5)
    strands = np.abs(Field(rng, low, high, 9.0)(*mesh))
    value = tissues.INNER_FAT + 8 * uneven + 70 * np.maximum(1 - strands / 0.09, 0)
    blend(hu, window, edge(near - threshold, 0.12), value.astype(np.float32))


def draw_sinus(hu: np.ndarray, piece: Piece, grid: Grid) -> None:
    """Draws fat in the sinus of a piece, over earlier tissue."""
    window, voxels = piece.within(grid, 2 * HALO_MM)
    near = closeness(labels.foreground(voxels), grid.spacing_mm)
    blend(hu, window, edge(near - SINUS, 0.12), np.float32(tissues.INNER_FAT + 10))


def draw_neighbors(hu: np.ndarray, piece: Piece, grid: Grid, patient: Patient, phase: tissues.Phase,
                    rng: np.random.Generator) -> None:
    """Draws organs that touch the front and the side of a piece: bowel, and lobes of liver (right) or spleen (left)."""
    surface, outward = _surface(piece, grid, rng)
    if not len(surface):
        return
    for _ in range(rng.integers(2, 5)):
        at = rng.integers(len(surface))
        size = rng.uniform(9, 15)
        middle = surface[at] + outward[at] * size * rng.uniform(0.8, 1.0)
        along = rng.normal(size=3) * (1.0, 0.4, 0.5)
        along *= rng.uniform(12, 30) / np.linalg.norm(along)
        piecewise = [tube(middle - along, middle, size, size).cut(_inside(patient)),
                     tube(middle, middle + along, size, size * rng.uniform(0.8, 1)).cut(_inside(patient))]
        gas = middle[1] - size * rng.uniform(0, 0.8) if rng.random() < 0.3 else None
        organs.hollow(hu, grid, piecewise, rng.uniform(2, 4), phase.gut_wall + rng.uniform(-10, 15),
                      rng.choice([rng.uniform(5, 40), phase.gut_wall]), gas)
    right = surface[:, 2].mean() < 0
    solid = phase.liver if right else phase.spleen
    for _ in range(rng.integers(1, 3)):
        beside = np.flatnonzero(surface[:, 0] < np.median(surface[:, 0]))  # liver and spleen touch the upper half
        at = rng.choice(beside)
        radii = rng.uniform(16, 34, 3) * (1.3, 1.0, 0.8)
        lobe = ellipsoid(surface[at] + outward[at] * radii.min() * 0.9, radii).cut(_inside(patient))
        grain = Field(rng, lobe.low_mm, lobe.high_mm, 8.0)
        paint(hu, grid, lobe, lambda *at, grain=grain: solid + 5 * grain(*at))


def draw_vessels(hu: np.ndarray, piece: Piece, grid: Grid, phase: tissues.Phase, rng: np.random.Generator) -> None:
    """Draws renal artery and vein from the great vessels to the sinus, renal pelvis, ureter, and branches inside."""
    hilum = _hilum(piece, grid)
    side = 1.0 if hilum[2] > 0 else -1.0
    door = hilum + np.array([0, 0, -side * 16.0])
    cava, aorta = (np.array([door[0] - 6, *place]) for place in (organs.VENA_CAVA_MM, organs.AORTA_MM))
    front = np.array([door[0] - 4, organs.AORTA_MM[0] - 14, organs.AORTA_MM[1]])
    course = (cava, front, door, hilum) if side > 0 else (cava, door, hilum)  # the left vein crosses the aorta in front
    for start, stop in itertools.pairwise(course):
        paint(hu, grid, tube(start, stop, rng.uniform(4, 6)), phase.vein)
    paint(hu, grid, tube(aorta, door + np.array([0, 5, 0]), 3.0), phase.artery)
    paint(hu, grid, tube(door + np.array([0, 5, 0]), hilum, 2.6), phase.artery)
    pelvis = hilum + np.array([8, 6, -side * 8.0])
    paint(hu, grid, tube(pelvis, hilum + np.array([0, 2, side * 6]), rng.uniform(5, 9), 4.0), phase.urine)
    ureter = [pelvis, pelvis + np.array([40, -4, -side * 12]), np.array([pelvis[0] + 130, -5, side * 38])]
    for start, stop in itertools.pairwise(ureter):
        paint(hu, grid, tube(start, stop, 2.4), phase.urine + 20)
    for _ in range(rng.integers(4, 8)):  # calyces and segmental vessels
        stop = hilum + rng.normal(size=3) * (14, 7, 5) + (0, 0, side * 6)
        paint(hu, grid, tube(hilum, stop, rng.uniform(1.8, 4)), rng.choice([phase.urine, phase.vein, phase.artery]))


def cysts(rng: np.random.Generator, piece: Piece, grid: Grid,
          mesh: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns (cover, hu) of random cysts in the window of a piece, to blend into its kidney; cover is 0 elsewhere.

    KiTS19 labels cysts as kidney, so cysts are drawn within the kidney's voxels and change no label. One cyst in four
    contains old blood or protein and is as bright as soft tissue.
    """
    _, voxels = piece.within(grid, 2.0)
    kidney = np.argwhere(voxels == labels.KIDNEY)
    cover = np.zeros(voxels.shape, np.float32)
    value = np.zeros(voxels.shape, np.float32)
    for _ in range(rng.poisson(CYSTS * min(piece.ml / 100, 1.5)) if len(kidney) else 0):  # fragments get few or none
        place = kidney[rng.integers(len(kidney))]
        centre = [float(axis.ravel()[index]) for axis, index in zip(mesh, place, strict=True)]
        radius = float(np.clip(rng.lognormal(np.log(7.0), 0.5), 3.0, 20.0))
        shape = ellipsoid(np.array(centre), radius * rng.uniform(0.85, 1.15, 3))
        hit = edge(-shape.level(*mesh), 1.6)
        value = np.where(hit > cover, rng.uniform(35, 70) if rng.random() < 0.25 else rng.uniform(0, 18), value)
        cover = np.maximum(cover, hit)
    return cover, value.astype(np.float32)


def draw_mesentery(hu: np.ndarray, grid: Grid, patient: Patient, phase: tissues.Phase,
                   rng: np.random.Generator) -> None:
    """Draws small vessels in the fat of the abdomen."""
    width, front = patient.inner_half_width_mm, patient.inner_front_mm
    first, last = grid.origin_mm[0], grid.origin_mm[0] + grid.shape[0] * grid.spacing_mm[0]
    low, high = np.array([first, -front + 10, -0.8 * width]), np.array([last, 0, 0.8 * width])
    for _ in range(int(0.4 * (last - first))):
        start = rng.uniform(low, high)
        stop = start + rng.normal(size=3) * 14
        paint(hu, grid, tube(start, stop, rng.uniform(0.8, 2.4)).cut(_inside(patient)),
              rng.choice([phase.vein, phase.portal, phase.artery]))


def _corners(mesh):
    return [float(axis.min()) for axis in mesh], [float(axis.max()) for axis in mesh]


def _inside(patient):
    return lambda *at: patient.cavity(*at) + 3


def _surface(piece, grid, rng):
    """Returns surface positions of a piece that face the front or the side, in mm, and outward unit vectors."""
    whole = labels.foreground(piece.voxels)
    rim = np.argwhere(whole & ~ndimage.binary_erosion(whole))
    rim = rim[rng.permutation(len(rim))[:400]]
    first = [part.start for part in piece.box]
    places = (rim + first) * np.array(grid.spacing_mm) + grid.origin_mm
    middle = (np.argwhere(whole)[::31].mean(axis=0) + first) * grid.spacing_mm + grid.origin_mm
    away = (places - middle) * (0.3, 1.0, 1.0)
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    facing = (away[:, 1] < -0.2) | (away[:, 2] * np.sign(middle[2]) > 0.5)
    return places[facing], away[facing]


def _hilum(piece, grid):
    """Returns the center of a piece's sinus, in mm; without a sinus, a position on its side toward the spine."""
    window, voxels = piece.within(grid, 2 * HALO_MM)
    inside = labels.foreground(voxels)
    hollow = np.argwhere((closeness(inside, grid.spacing_mm) > SINUS) & ~inside)
    first = [part.start for part in window]
    if len(hollow) < 20:
        hits = np.argwhere(inside)
        places = (hits + first) * np.array(grid.spacing_mm) + grid.origin_mm
        middle = places.mean(axis=0)
        return np.array([*middle[:2], places[np.abs(places[:, 2]).argmin(), 2]])
    return (hollow.mean(axis=0) + first) * np.array(grid.spacing_mm) + grid.origin_mm
