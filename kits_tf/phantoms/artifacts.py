"""Artifacts of an ordinary scanner: noise by slice thickness, streaks, and a field of view that is too small.

In: the synthetic tissue in HU. Out: int16 HU. No tissue moves, so the labels stay valid.
"""

import numpy as np
from scipy import ndimage

from kits_tf.phantoms.drawing import Grid
from kits_tf.volume import AIR_HU

NOISE_HU = (9.0, 16.0)  # range of the standard deviation in the middle of the body, in slices of THICK_MM
THICK_MM = 3.0
RAYS = 1440  # directions around a streak's source


def rays_from(grid: Grid, source_mm: tuple[float, float], inside: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns the number of the ray, 0 to RAYS - 1, and the strength of a streak at each pixel (y, x) of a slice.

    Args:
        grid: the scan's Grid.
        source_mm: (y, x) of the streak's source.
        inside: whether the source is inside the body; streaks of one outside reach farther.
    """
    _, y, x = grid.mesh(grid.whole)
    away_y, away_x = y[0] - source_mm[0], x[0] - source_mm[1]
    distance = np.hypot(away_y, away_x)
    fade = (np.minimum(distance / 6, 1) * np.exp(-distance / (90 if inside else 200))).astype(np.float32)
    return ((np.arctan2(away_y, away_x) / (2 * np.pi) + 0.5) * RAYS).astype(np.int16) % RAYS, fade


def noise_scale(rng: np.random.Generator, spread_hu: float, grain: float) -> np.float32:
    """Returns the factor that gives white noise, blurred by `grain` pixels, a standard deviation of `spread_hu`."""
    probe = ndimage.gaussian_filter(rng.standard_normal((64, 64), dtype=np.float32), grain, mode="wrap")
    return np.float32(spread_hu / probe.std())


def radius_in(grid: Grid) -> np.ndarray:
    """Returns each pixel's (y, x) distance from the middle of a slice; 0.5 at the middle of an edge."""
    rows, columns = np.indices(grid.shape[1:], sparse=True)
    return np.hypot((rows + 0.5) / grid.shape[1] - 0.5, (columns + 0.5) / grid.shape[2] - 0.5)


def scan_hard(hu: np.ndarray, grid: Grid, rng: np.random.Generator, keep: np.ndarray) -> np.ndarray:
    """Adds noise and streaks, cuts the field of view to the scanner's circle in some cases, and rounds.

    Noise is inversely proportional to the square root of the photons per slice. In theory, 0.5 mm slices have 2.5
    times the noise of 3 mm slices; the factor is limited to 2.2, because such scans are smoothed more. 5 mm slices
    have less noise. Noise is stronger in the middle of the body, and neighboring thin slices share part of it.

    Args:
        hu: float32 (z, y, x); changed in place.
        grid: the scan's Grid.
        rng: NumPy random generator.
        keep: bool (y, x), pixels that must stay in the field of view.

    Returns:
        int16 HU, not below AIR_HU.
    """
    thickness = grid.spacing_mm[0]
    spread = rng.uniform(*NOISE_HU) * np.clip(np.sqrt(THICK_MM / thickness), 0.75, 2.2)
    grain = rng.uniform(0.45, 0.9)  # pixels; reconstruction filters differ in smoothing
    shared = np.clip(1 - thickness / 2.0, 0, 0.6)  # correlation of the noise with the previous slice
    scale = noise_scale(rng, spread, grain)
    _, y, x = grid.mesh(grid.whole)
    depth = np.exp(-((y[0] + 10) / 140) ** 2 - (x[0] / 170) ** 2).astype(np.float32)
    strength = scale * (0.45 + 0.55 * depth)
    streaks = _streaks(grid, rng)
    outside = _outside_circle(grid, rng, keep)
    voxels = np.empty(hu.shape, np.int16)
    before = np.float32(0)
    for index, layer in enumerate(hu):
        noise = ndimage.gaussian_filter(rng.standard_normal(layer.shape, dtype=np.float32), grain, mode="wrap",
                                        truncate=2.5)
        # Rows through spine and pelvis get fewer photons, so their noise is correlated along x.
        before = np.float32(np.sqrt(1 - shared**2)) * noise + np.float32(shared) * before
        rows = ndimage.uniform_filter1d(noise, 41, axis=1, mode="wrap")
        layer += strength * (before + rows * 1.1)
        for streak in streaks:
            streak(index, layer)
        if outside is not None:
            layer[outside] = AIR_HU
        voxels[index] = np.rint(np.clip(layer, AIR_HU, 3071))
    return voxels


def _streaks(grid, rng):
    """Returns functions of (slice, layer) that add dark and bright rays around metal, barium or an arm."""
    found = []
    for _ in range(rng.choice([0, 1, 2], p=[0.5, 0.35, 0.15])):
        inside = rng.random() < 0.6
        source = (rng.uniform(-70, 40), rng.uniform(-90, 90)) if inside else (
            rng.uniform(-60, 60), rng.choice([-1, 1]) * rng.uniform(170, 230))
        ray, fade = rays_from(grid, source, inside)
        middle = rng.uniform(0.15, 0.85) * grid.shape[0]
        half = max(rng.uniform(6, 25) / grid.spacing_mm[0], 0.6)
        height = rng.uniform(25, 60)

        def streak(index, layer, ray=ray, fade=fade, middle=middle, half=half, height=height):
            share = 1 - abs(index - middle) / half
            if share > 0:
                rays = ndimage.gaussian_filter1d(rng.standard_normal(RAYS, dtype=np.float32), 5.0, mode="wrap")
                layer += np.float32(height * min(2 * share, 1) / rays.std()) * 0.6 * fade * rays[ray]

        found.append(streak)
    return found


def _outside_circle(grid, rng, keep):
    """Returns a mask (y, x) of the pixels outside the reconstruction circle, or None for a square image.

    One case in four has a circle, unless it would cut off `keep`.
    """
    if rng.random() > 0.25:
        return None
    outside = radius_in(grid) > 0.5
    return None if (outside & keep).any() else outside
