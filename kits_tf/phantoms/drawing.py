"""Draws soft-edged shapes on a voxel grid.

A shape is a level function, negative inside, roughly in mm near its surface. A voxel's coverage is the share of it that
lies inside, computed from the level at its center and the level's gradient. Edges therefore show partial volume in
thick slices and the scanner's point spread without a finer grid. Positions are in mm in the patient's frame: (z, y, x),
z to the feet, y to the back, x to the patient's left, zero at the vertebral body between the kidneys.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

Number = float | np.number

POINT_SPREAD_MM = 0.8  # in-plane, added to the width of every edge


@dataclasses.dataclass(frozen=True)
class Grid:
    """Positions of voxels in the patient's frame.

    Attributes:
        shape: voxels along (z, y, x), two or more each.
        spacing_mm: voxel size along (z, y, x).
        origin_mm: position of the first voxel's center.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    def window(self, low_mm: Sequence[float], high_mm: Sequence[float]) -> tuple[slice, ...] | None:
        """Returns slices that cover a block of tissue and a margin of up to two voxels; None if outside the grid."""
        slices = []
        for size, step, origin, low, high in zip(self.shape, self.spacing_mm, self.origin_mm, low_mm, high_mm,
                                                 strict=True):
            start = max(int(np.floor((low - origin) / step)) - 1, 0)
            stop = min(int(np.ceil((high - origin) / step)) + 2, size)
            if start >= size or stop <= 0:
                return None
            start, stop = min(start, size - 2), max(stop, 2)  # a gradient needs two voxels
            slices.append(slice(start, stop))
        return tuple(slices)

    def mesh(self, window: tuple[slice, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the positions (z, y, x) of a window's voxels, in mm, as three float32 arrays that broadcast."""
        axes = [(origin + step * np.arange(part.start, part.stop)).astype(np.float32)
                for part, step, origin in zip(window, self.spacing_mm, self.origin_mm, strict=True)]
        return axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]

    @property
    def whole(self) -> tuple[slice, ...]:
        """The window that holds every voxel."""
        return tuple(slice(0, size) for size in self.shape)


@dataclasses.dataclass(frozen=True)
class Shape:
    """A solid in the patient's frame.

    Attributes:
        low_mm, high_mm: corners of a block that contains it.
        level: function of (z, y, x) in mm, arrays that broadcast; negative inside.
    """

    low_mm: tuple[float, float, float]
    high_mm: tuple[float, float, float]
    level: Callable

    def cut(self, level: Callable) -> "Shape":
        """Returns the part of this shape that lies inside another level function."""
        return dataclasses.replace(self, level=lambda *at: np.maximum(self.level(*at), level(*at)))


def ellipsoid(centre_mm: ArrayLike, radii_mm: ArrayLike, axes: ArrayLike | None = None) -> Shape:
    """Returns an ellipsoid.

    Args:
        centre_mm: (z, y, x).
        radii_mm: along its own three axes.
        axes: 3x3, its own axes as orthonormal rows in (z, y, x); None for the axes z, y and x.
    """
    axes = np.eye(3) if axes is None else np.asarray(axes)
    reach = np.sqrt(((axes * np.asarray(radii_mm)[:, None]) ** 2).sum(axis=0))
    scaled = (axes / np.asarray(radii_mm)[:, None]).astype(np.float32)
    size = np.float32(np.asarray(radii_mm).mean())

    def level(z, y, x):
        offsets = (z - np.float32(centre_mm[0]), y - np.float32(centre_mm[1]), x - np.float32(centre_mm[2]))
        squares = 0.0
        for row in scaled:
            squares = squares + sum(part * weight for part, weight in zip(offsets, row, strict=True) if weight) ** 2
        return (np.sqrt(squares) - 1) * size

    return Shape(tuple(centre_mm - reach), tuple(centre_mm + reach), level)


def tube(start_mm: ArrayLike, stop_mm: ArrayLike, start_radius_mm: float, stop_radius_mm: float | None = None) -> Shape:
    """Returns a straight tube with round ends, for vessels and gut; its radius changes linearly."""
    start, stop = np.asarray(start_mm, np.float32), np.asarray(stop_mm, np.float32)
    radii = np.float32(start_radius_mm), np.float32(start_radius_mm if stop_radius_mm is None else stop_radius_mm)
    along = stop - start
    squared = np.float32(np.maximum(along @ along, 1e-6))

    def level(z, y, x):
        offsets = z - start[0], y - start[1], x - start[2]
        share = sum(part * step for part, step in zip(offsets, along / squared, strict=True))
        share = np.clip(share, 0, 1)
        gap = sum((part - share * step) ** 2 for part, step in zip(offsets, along, strict=True))
        return np.sqrt(gap) - (radii[0] + share * (radii[1] - radii[0]))

    low = np.minimum(start - radii[0], stop - radii[1])
    high = np.maximum(start + radii[0], stop + radii[1])
    return Shape(tuple(low), tuple(high), level)


def coverage(level: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Returns the share of each voxel that lies inside, 0 to 1, from the level at voxel centers (z, y, x)."""
    change_z, change_y, change_x = np.gradient(level)
    width = np.abs(change_z)
    width += np.abs(change_y) * np.float32(1 + POINT_SPREAD_MM / spacing_mm[1])
    width += np.abs(change_x) * np.float32(1 + POINT_SPREAD_MM / spacing_mm[2])
    return np.clip(0.5 - level / np.maximum(width, np.float32(1e-6)), 0, 1)


def blend(hu: np.ndarray, window: tuple[slice, ...], cover: np.ndarray, value: Number | np.ndarray) -> None:
    """Mixes a tissue into a scan, in place.

    Args:
        hu: the whole scan, float32.
        window: slices of it.
        cover: share of each voxel of the window to replace.
        value: HU, one number or an array that broadcasts to the window.
    """
    region = hu[window]
    region += cover * (value - region)


def paint(hu: np.ndarray, grid: Grid, shape: Shape,
          value: Number | Callable) -> tuple[tuple[slice, ...], np.ndarray] | None:
    """Draws a shape into a scan, in place.

    Args:
        hu: the whole scan, float32, of the grid's shape.
        grid: the scan's Grid.
        shape: a Shape; parts outside the grid are not drawn.
        value: HU, one number or a function of (z, y, x).

    Returns:
        (window, cover): the slices drawn into and the coverage of their voxels; None if the shape lies outside.
    """
    window = grid.window(shape.low_mm, shape.high_mm)
    if window is None:
        return None
    mesh = grid.mesh(window)
    cover = coverage(shape.level(*mesh), grid.spacing_mm)
    blend(hu, window, cover, value(*mesh) if callable(value) else np.float32(value))
    return window, cover


def edge(distance_mm: np.ndarray, width_mm: Number) -> np.ndarray:
    """Returns a linear ramp from 0 to 1, centered at distance zero and `width_mm` wide."""
    return np.clip(0.5 + distance_mm / width_mm, 0, 1)


class Field:
    """A smooth random function of position, mean 0 and standard deviation about 1: cubic B-splines on random knots.

    The knots are fixed to the patient, not to the grid, so a coarse and a fine grid show the same anatomy.
    """

    def __init__(self, rng: np.random.Generator, low_mm: Sequence[float] | np.ndarray,
                 high_mm: Sequence[float] | np.ndarray, wavelength_mm: float) -> None:
        self.low_mm = low_mm
        self.wavelength_mm = wavelength_mm
        counts = [int(np.ceil((high - low) / wavelength_mm)) + 4 for low, high in zip(low_mm, high_mm, strict=True)]
        self.knots = rng.standard_normal(counts, dtype=np.float32) * np.float32(3.0)  # splines reduce the spread to 1/3

    def __call__(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        weights = [self._weights(axis, positions.ravel()) for axis, positions in enumerate((z, y, x))]
        partial = np.tensordot(weights[0], self.knots, axes=1)
        return np.matmul(np.matmul(weights[1], partial), weights[2].T)

    def _weights(self, axis, positions_mm):
        """Returns the weight of each knot at each position, shape (positions, knots); positions are clamped."""
        knots = self.knots.shape[axis]
        place = np.clip((positions_mm - self.low_mm[axis]) / self.wavelength_mm + 1, 1, knots - 2.001)
        first = np.floor(place).astype(int)
        rest = (place - first).astype(np.float32)
        table = np.zeros((len(positions_mm), knots), np.float32)
        rows = np.arange(len(positions_mm))
        table[rows, first - 1] = (1 - rest) ** 3 / 6
        table[rows, first] = (3 * rest**3 - 6 * rest**2 + 4) / 6
        table[rows, first + 1] = (-3 * rest**3 + 3 * rest**2 + 3 * rest + 1) / 6
        table[rows, first + 2] = rest**3 / 6
        return table
