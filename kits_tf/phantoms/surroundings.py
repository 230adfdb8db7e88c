"""What lies against a kidney taken from a label file: fat of uneven thickness, its vessels, and organs that touch it.

In: the scan in place, one Piece of the labels and its Grid. All of it is drawn before any kidney, and kidneys cover it,
so that nothing here can make a label wrong.
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

CYSTS = 1.2  # in 100 ml of kidney, on average
SINUS = 0.52  # closeness from which on a voxel that is no kidney lies in its sinus
HALO_MM = 9.0  # fat around kidneys and tumors, where it is thickest


@dataclasses.dataclass(frozen=True)
class Piece:
    """One connected component of the foreground.

    Attributes:
        box: slices of the scan that hold it.
        voxels: uint8 classes within the box; other components are left out.
        ml: its volume.
    """

    box: tuple[slice, slice, slice]
    voxels: np.ndarray
    ml: float

    def within(self, grid: Grid, reach_mm: float) -> tuple[tuple[slice, ...], np.ndarray]:
        """(window, voxels): the box grown by some tissue on every side, as far as the grid goes."""
        room = [int(np.ceil(reach_mm / step)) for step in grid.spacing_mm]
        window = tuple(slice(max(part.start - more, 0), min(part.stop + more, size))
                       for part, more, size in zip(self.box, room, grid.shape, strict=True))
        voxels = np.zeros([part.stop - part.start for part in window], np.uint8)
        voxels[tuple(slice(part.start - base.start, part.stop - base.start)
                     for part, base in zip(self.box, window, strict=True))] = self.voxels
        return window, voxels


def closeness(inside: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """How much kidney lies around each voxel, 0 to 1: more than half within its sinus, little at a few mm from it."""
    near = inside.astype(np.float32)
    for _ in range(2):
        near = ndimage.uniform_filter(near, [max(1, round(HALO_MM / step)) for step in spacing], mode="nearest")
    return near


def draw_fat(hu: np.ndarray, piece: Piece, grid: Grid, rng: np.random.Generator) -> None:
    """Fat around a piece, with strands in it: from none, where organs touch the kidney, to HALO_MM."""
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
    """Fat in the hollow of a piece, over whatever lies there."""
    window, voxels = piece.within(grid, 2 * HALO_MM)
    near = closeness(labels.foreground(voxels), grid.spacing_mm)
    blend(hu, window, edge(near - SINUS, 0.12), np.float32(tissues.INNER_FAT + 10))


def draw_neighbours(hu: np.ndarray, piece: Piece, grid: Grid, patient: Patient, phase: tissues.Phase,
                    rng: np.random.Generator) -> None:
    """Organs pressed against a piece in front of it and at its side: bowel, and a lobe of liver or of spleen."""
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
        beside = np.flatnonzero(surface[:, 0] < np.median(surface[:, 0]))  # liver and spleen lie at the upper half
        at = rng.choice(beside)
        radii = rng.uniform(16, 34, 3) * (1.3, 1.0, 0.8)
        lobe = ellipsoid(surface[at] + outward[at] * radii.min() * 0.9, radii).cut(_inside(patient))
        grain = Field(rng, lobe.low_mm, lobe.high_mm, 8.0)
        paint(hu, grid, lobe, lambda *at, grain=grain: solid + 5 * grain(*at))


def draw_vessels(hu: np.ndarray, piece: Piece, grid: Grid, phase: tissues.Phase, rng: np.random.Generator) -> None:
    """The renal artery, vein and pelvis from the great vessels into the sinus, and what of them lies within it."""
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
    """(cover, hu) of cysts in a window of a piece, for what is kidney there; cover is 0 where there is none.

    KiTS19 labels cysts as kidney, so a cyst is drawn within the kidney's own voxels and changes no label. One in four
    holds old blood or protein and is as bright as soft tissue.
    """
    _, voxels = piece.within(grid, 2.0)
    kidney = np.argwhere(voxels == labels.KIDNEY)
    cover = np.zeros(voxels.shape, np.float32)
    value = np.zeros(voxels.shape, np.float32)
    for _ in range(rng.poisson(CYSTS * min(piece.ml / 100, 1.5)) if len(kidney) else 0):  # a crumb has none
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
    """Small vessels and nodes in the fat of the belly."""
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
    """Positions on a piece that face the front or the side, in mm, and unit vectors away from its middle."""
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
    """The middle of a piece's sinus, in mm; of its side towards the spine where it has none."""
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
