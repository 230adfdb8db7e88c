"""Functions for irregular shapes and for filling hollow organs."""

from collections.abc import Callable, Sequence

import numpy as np

from kits_tf.phantoms.body.canvas import Canvas, Drawn
from kits_tf.phantoms.drawing import Shape, edge

GAS_HU = -985.0
WAVES = 6


def waves(rng: np.random.Generator, wavelength_mm: float) -> Callable:
    """Returns a smooth random function of (z, y, x), mean 0 and standard deviation 1: a sum of WAVES plane waves."""
    directions = rng.normal(size=(WAVES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    numbers = (directions * (2 * np.pi / (wavelength_mm * rng.uniform(0.7, 1.6, (WAVES, 1))))).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, WAVES).astype(np.float32)
    scale = np.float32(np.sqrt(2 / WAVES))

    def value(z, y, x):
        total = 0.0
        for number, phase in zip(numbers, phases, strict=True):
            total = total + np.sin(number[0] * z + number[1] * y + number[2] * x + phase)
        return total * scale

    return value


def lumpy(rng: np.random.Generator, shape: Shape, size_mm: float, wavelength_mm: float) -> Shape:
    """Returns the shape with bumps; `size_mm` is their standard deviation."""
    bumps = waves(rng, wavelength_mm)
    return Shape(tuple(np.subtract(shape.low_mm, 2 * size_mm)), tuple(np.add(shape.high_mm, 2 * size_mm)),
                 lambda *at: shape.level(*at) + np.float32(size_mm) * bumps(*at))


def joined(one: Shape, other: Shape) -> Shape:
    """Returns the union of two shapes."""
    low, high = np.minimum(one.low_mm, other.low_mm), np.maximum(one.high_mm, other.high_mm)
    return Shape(tuple(low), tuple(high), lambda *at: np.minimum(one.level(*at), other.level(*at)))


def shrunk(shape: Shape, mm: float) -> Shape:
    """Returns the part of a shape that lies at least `mm` under its surface."""
    return Shape(shape.low_mm, shape.high_mm, lambda *at: shape.level(*at) + np.float32(mm))


def tilted(rng: np.random.Generator, spread: float) -> np.ndarray:
    """Returns random orthonormal axes near the identity, one axis (z, y, x) per row; `spread` sets the tilt."""
    axes, _ = np.linalg.qr(np.eye(3) + rng.normal(0, spread * 0.6, (3, 3)))
    return axes * np.sign(np.diag(axes))[:, None]


def inside(shape: Shape, point: Sequence[float]) -> float:
    """Returns the depth of a point under a shape's surface, in mm; negative outside."""
    return -float(np.asarray(shape.level(*(np.full((1, 1, 1), part, np.float32) for part in point))).item())


def fill_hollow(canvas: Canvas, parts: Sequence[Shape], wall_mm: float, wall: float, content: Callable | float,
                gas_y_mm: float | None, step_mm: float) -> None:
    """Paints a hollow organ made of parts that open into each other: wall, content and gas.

    Gas fills the part in front of y = `gas_y_mm`, or behind it if the patient lies prone; None for no gas.
    """
    for part in parts:
        canvas.paint(part, wall, step_mm)

    def value(drawn: Drawn) -> np.ndarray | float:
        hu = content(drawn) if callable(content) else content
        if gas_y_mm is None:
            return hu
        above = np.float32(gas_y_mm) - canvas.along_y(drawn)
        return hu + edge(-above if canvas.prone else above, 2.0) * (np.float32(GAS_HU) - hu)

    for part in parts:
        canvas.paint(shrunk(part, wall_mm), value, step_mm)
