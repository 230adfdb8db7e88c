"""Paints shapes of the patient's frame onto a grid that is oblique and deformed in that frame.

Level functions are smooth, so they are computed on a coarse lattice with a step of a few mm and interpolated to the
voxels; this makes a whole body fast to draw. The deformation is computed once, on a lattice of its own.

In: a Grid (drawing.py; its positions are those of the scanner's table) and a Pose. Out: HU and labels, in place.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from kits_tf.phantoms.drawing import POINT_SPREAD_MM, Field, Grid, Shape, tube

LATTICE_MM = 6.0  # step of the deformation's lattice
EDGE_HU, FAT_HU = -30.0, -100.0  # the label of a kidney ends at EDGE_HU, in fat of FAT_HU
EDGE_MM = 1.6  # width of an edge in an image with pixels of 0.8 mm
TILE = 64  # voxels along each axis of the repeated texture

Paint = float | np.floating | np.ndarray | Callable


@dataclasses.dataclass(frozen=True)
class Pose:
    """Position of the patient in the scanner.

    Attributes:
        rotation: 3x3 (z, y, x); position in the patient = rotation @ position on the table.
        bend_mm: standard deviation of the smooth deformation.
        wavelength_mm: wavelength of the deformation.
        prone: the patient lies face down: the table is in front of the patient, gas collects at the back.
    """

    rotation: np.ndarray
    bend_mm: float
    wavelength_mm: float
    prone: bool = False


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Voxels that a shape covers.

    Attributes:
        window: slices of the scan.
        cover: share of each voxel of the window that lies inside, float32.
        level: the level function there, in mm, negative inside.
    """

    window: tuple[slice, ...]
    cover: np.ndarray
    level: np.ndarray


def _weights(size: int, nodes: int, step: float) -> np.ndarray:
    """Returns linear interpolation weights along one axis, (size, nodes); nodes lie every `step` voxels from 0."""
    place = np.minimum(np.arange(size) / step, nodes - 1)
    first = np.minimum(np.floor(place).astype(int), max(nodes - 2, 0))
    rest = (place - first).astype(np.float32)
    table = np.zeros((size, nodes), np.float32)
    rows = np.arange(size)
    table[rows, first] += 1 - rest
    table[rows, np.minimum(first + 1, nodes - 1)] += rest
    return table


def interpolate(values: np.ndarray, tables: Sequence[np.ndarray]) -> np.ndarray:
    """Interpolates values at (z, y, x) nodes to voxels; `tables` holds one array (voxels, nodes) per axis."""
    depth, height, width = values.shape
    values = (tables[0] @ values.reshape(depth, -1)).reshape(-1, height, width)
    return np.matmul(np.matmul(tables[1], values), tables[2].T)


class Canvas:
    """A scan and its labels on a grid.

    Attributes:
        grid: the Grid.
        hu: float32 (z, y, x), initially air.
        labels: uint8 (z, y, x).
        prone: see Pose.
    """

    def __init__(self, grid: Grid, pose: Pose, rng: np.random.Generator) -> None:
        self.grid = grid
        self.prone = pose.prone
        self.hu = np.full(grid.shape, -1000.0, np.float32)
        self.labels = np.zeros(grid.shape, np.uint8)
        self._texture = rng.standard_normal((TILE, TILE, TILE), dtype=np.float32)
        self._textures: dict[tuple[float, ...], np.ndarray] = {}
        self._place_lattice(pose, rng)

    def _place_lattice(self, pose, rng):
        """Computes patient positions of a lattice that covers all voxels: self._lattice, (3, z, y, x)."""
        steps = [max(LATTICE_MM / mm, 1.0) for mm in self.grid.spacing_mm]
        nodes = [int(np.ceil((size - 1) / step)) + 1 for size, step in zip(self.grid.shape, steps, strict=True)]
        axes = [np.float32(origin) + np.arange(count, dtype=np.float32) * np.float32(step * mm)
                for origin, count, step, mm in zip(self.grid.origin_mm, nodes, steps, self.grid.spacing_mm,
                                                   strict=True)]
        mesh = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
        # A fixed range of knots: a shifted field of view shows the same body.
        low, high = (-700.0, -400.0, -400.0), (700.0, 400.0, 400.0)
        parts = []
        for row in pose.rotation:
            bend = Field(rng, low, high, pose.wavelength_mm)
            place = sum(np.float32(weight) * part for weight, part in zip(row, mesh, strict=True))
            parts.append(place + np.float32(pose.bend_mm) * bend(*mesh))
        self._lattice = np.stack(parts)
        self._steps = steps

    def window(self, low_mm: Sequence[float], high_mm: Sequence[float],
               room_mm: float = 2.0) -> tuple[slice, ...] | None:
        """Returns the slices of the voxels that may show a block of the patient; None if it is outside the scan."""
        reach = LATTICE_MM * 0.6 + max(self.grid.spacing_mm[0] * 0.5, 1) + room_mm
        hit: np.ndarray | bool = True
        # Lattice nodes near the block, along each patient axis in turn.
        for axis in range(3):
            part = self._lattice[axis]
            hit = hit & (part > low_mm[axis] - reach) & (part < high_mm[axis] + reach)
        found = [np.flatnonzero(np.any(hit, axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        if not all(index.size for index in found):
            return None
        slices = []
        for index, step, size in zip(found, self._steps, self.grid.shape, strict=True):
            start = min(max(int(np.floor((index[0] - 0.5) * step)), 0), size - 2)
            stop = min(max(int(np.ceil((index[-1] + 0.5) * step)) + 1, start + 2), size)
            slices.append(slice(start, stop))
        return tuple(slices)

    def positions(self, window: tuple[slice, ...], step_mm: float) -> tuple[np.ndarray, list[np.ndarray]]:
        """Returns patient positions (3, z, y, x) of nodes about `step_mm` apart, and tables for `spread`."""
        tables, lattice_tables = [], []
        for axis, part in enumerate(window):
            size = part.stop - part.start
            step = max(step_mm / self.grid.spacing_mm[axis], 1.0)
            nodes = int(np.ceil((size - 1) / step)) + 1
            tables.append(_weights(size, nodes, step))
            count = self._lattice.shape[axis + 1]
            place = np.clip((part.start + np.arange(nodes) * step) / self._steps[axis], 0, count - 1)
            first = np.minimum(np.floor(place).astype(int), max(count - 2, 0))
            # Extrapolate linearly beyond the last lattice node.
            beyond = (part.start + np.arange(nodes) * step) / self._steps[axis] - first
            last = int(first[-1]) + 2
            table = np.zeros((nodes, last - first[0]), np.float32)
            rows = np.arange(nodes)
            table[rows, first - first[0]] = 1 - beyond
            if count > 1:
                table[rows, first - first[0] + 1] += beyond
            lattice_tables.append((table, int(first[0]), last))
        cut = tuple(slice(start, stop) for _, start, stop in lattice_tables)
        parts = [interpolate(part[cut], [table for table, _, _ in lattice_tables]) for part in self._lattice]
        return np.stack(parts), tables

    def cover(self, level: np.ndarray, soft_mm: float = 0.0) -> np.ndarray:
        """Returns the share of each voxel inside; like drawing.coverage, but with the gradient along z only."""
        width = np.empty_like(level)
        np.subtract(level[2:], level[:-2], out=width[1:-1])
        width[1:-1] *= 0.5
        width[0], width[-1] = level[1] - level[0], level[-1] - level[-2]
        np.abs(width, out=width)
        width *= 0.8
        width += np.float32(self.grid.spacing_mm[2] + POINT_SPREAD_MM + soft_mm)
        np.divide(level, width, out=width)
        np.subtract(np.float32(0.5), width, out=width)
        return np.clip(width, 0, 1, out=width)

    def draw(self, shape: Shape, step_mm: float = 3.0, soft_mm: float = 0.0) -> Drawn | None:
        """Finds the voxels of a shape without painting them; None if it lies outside the scan.

        Args:
            shape: a Shape in the patient's frame.
            step_mm: distance of the nodes where its level is computed; choose a third of its smallest detail.
            soft_mm: width added to the scanner's soft edge.
        """
        window = self.window(shape.low_mm, shape.high_mm)
        if window is None:
            return None
        places, tables = self.positions(window, step_mm)
        level = interpolate(np.ascontiguousarray(shape.level(*places), np.float32), tables)
        cover = self.cover(level, soft_mm)
        return Drawn(window, cover, level) if cover.any() else None

    def spread(self, values: np.ndarray, tables: list[np.ndarray]) -> np.ndarray:
        """Interpolates values at the nodes of `positions` to the voxels."""
        return interpolate(np.ascontiguousarray(values, np.float32), tables)

    def along_y(self, drawn: Drawn) -> np.ndarray:
        """Returns the patient's y of a shape's voxels, in mm; it gives the levels of gas and dense urine."""
        places, tables = self.positions(drawn.window, 6.0)
        return interpolate(places[1], tables)

    def blend(self, drawn: Drawn | None, value: Paint, share: float = 1.0) -> Drawn | None:
        """Mixes a tissue into the scan; the value is one number, HU per voxel, or a function of the Drawn."""
        if drawn is None:
            return None
        hu = value(drawn) if callable(value) else value
        region = self.hu[drawn.window]
        change = hu - region
        change *= drawn.cover
        region += np.float32(share) * change if share != 1.0 else change
        return drawn

    def paint(self, shape: Shape, value: Paint, step_mm: float = 3.0, soft_mm: float = 0.0, share: float = 1.0,
              label: int | None = None) -> Drawn | None:
        """Draws a shape and mixes its tissue into the scan; see draw and blend.

        With a `label`, voxels whose center lies inside get the label. In fat, the label of a kidney or tumor extends
        to the voxels that an edge of width EDGE_MM shows above EDGE_HU, because KiTS19's masks end there.
        """
        drawn = self.draw(shape, step_mm, soft_mm)
        if drawn is None or label is None:
            return self.blend(drawn, value, share)
        hu = value(drawn) if callable(value) else np.float32(value)
        limit: np.ndarray | float = 0.0
        if label:
            fat = self.hu[drawn.window] < EDGE_HU
            reach = EDGE_MM * (0.5 - (EDGE_HU - FAT_HU) / np.maximum(hu - np.float32(FAT_HU), 80))
            limit = np.where(fat, reach, 0)
        self.blend(drawn, hu, share)
        self.labels[drawn.window][drawn.level < limit] = label
        return drawn

    def tubes(self, points: Sequence[ArrayLike], radius_mm: ArrayLike, value: Paint,
              label: int | None = None) -> None:
        """Paints a vessel, duct or wire along a polyline; takes one radius or one per point."""
        radii = np.broadcast_to(np.asarray(radius_mm, float), (len(points),)).tolist()
        for start, stop, first, last in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
            step = float(np.clip(min(first, last) * 0.5, 0.7, 3.0))
            self.paint(tube(start, stop, first, last), value, step, label=label)

    def texture(self, window: tuple[slice, ...], grain_mm: float) -> np.ndarray:
        """Returns random texture for a window, mean 0, standard deviation 1, `grain_mm` coarse; period TILE voxels."""
        grain = tuple(round(float(min(grain_mm / mm, TILE / 8)), 2) for mm in self.grid.spacing_mm)
        if grain not in self._textures:
            tile = ndimage.gaussian_filter(self._texture, grain, mode="wrap", truncate=2.5)
            self._textures[grain] = tile / tile.std()
        tile = self._textures[grain]
        return tile[np.ix_(*(np.arange(part.start, part.stop) % TILE for part in window))]

    def field(self, drawn: Drawn, rng: np.random.Generator, wavelength_mm: float, along: float = 1.0) -> np.ndarray:
        """Returns a smooth random field over a shape's voxels, mean 0 and standard deviation about 1.

        The wavelength along z is multiplied by `along`.
        """
        tables, nodes = [], []
        for part, mm, factor in zip(drawn.window, self.grid.spacing_mm, (along, 1.0, 1.0), strict=True):
            size = part.stop - part.start
            step = max(wavelength_mm * factor / mm, 1.0)
            count = int(np.ceil((size - 1) / step)) + 1
            tables.append(_weights(size, count, step))
            nodes.append(count)
        return interpolate(rng.standard_normal(nodes, dtype=np.float32) * np.float32(1.4), tables)


def textured(canvas: Canvas, mean: float, spread: float, grain_mm: float) -> Callable:
    """Returns a function for Canvas.paint: HU of a tissue with random texture."""
    return lambda drawn: canvas.texture(drawn.window, grain_mm) * np.float32(spread) + np.float32(mean)
