"""Tests soft shapes: coverage adds up to volumes that can be computed by hand."""

import numpy as np
import pytest

from kits_tf.phantoms.drawing import Field, Grid, coverage, ellipsoid, paint, tube

GRID = Grid((12, 40, 50), (5.0, 1.5, 1.2), (-27.5, -29.25, -29.4))


def test_coverage_of_an_ellipsoid_adds_up_to_its_volume():
    shape = ellipsoid((0, 0, 0), (20, 15, 18))
    cover = coverage(shape.level(*GRID.mesh(GRID.whole)), GRID.spacing_mm)
    assert cover.sum() * np.prod(GRID.spacing_mm) == pytest.approx(4 / 3 * np.pi * 20 * 15 * 18, rel=0.03)
    assert cover.min() == 0
    assert cover.max() == 1


def test_a_turned_ellipsoid_stays_inside_its_block():
    turn = np.array([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    shape = ellipsoid((1, 2, 3), (20, 8, 10), turn)
    z, y, x = GRID.mesh(GRID.whole)
    inside = np.argwhere(shape.level(z, y, x) < 0) * GRID.spacing_mm + GRID.origin_mm
    assert (inside >= np.subtract(shape.low_mm, 1e-3)).all()
    assert (inside <= np.add(shape.high_mm, 1e-3)).all()


def test_tube_level_is_the_distance_to_its_wall():
    level = tube((0, 0, -10), (0, 0, 10), 4.0).level
    at = (np.float32(0), np.float32(7), np.float32(3))
    assert level(*at) == pytest.approx(3.0)
    assert level(np.float32(0), np.float32(0), np.float32(16)) == pytest.approx(2.0)


def test_paint_changes_nothing_outside_the_shape_and_nothing_for_a_shape_outside():
    hu = np.zeros(GRID.shape, np.float32)
    assert paint(hu, GRID, ellipsoid((500, 0, 0), (9, 9, 9)), 100.0) is None
    assert not hu.any()
    paint(hu, GRID, ellipsoid((0, 0, 0), (12, 9, 9)), 100.0)
    assert hu[6, 20, 25] == 100
    assert hu[0].max() == 0
    assert hu[:, 0].max() == 0


def test_a_field_is_the_same_function_on_any_grid_with_unit_spread():
    field = Field(np.random.default_rng(0), (-60, -60, -60), (60, 60, 60), 6.0)
    coarse = np.arange(-50, 50, 4, dtype=np.float32)
    fine = np.arange(-50, 50, 2, dtype=np.float32)
    sampled = field(coarse[:, None, None], coarse[None, :, None], coarse[None, None, :])
    dense = field(fine[:, None, None], fine[None, :, None], fine[None, None, :])
    np.testing.assert_allclose(dense[::2, ::2, ::2], sampled, atol=1e-4)
    assert 0.75 < sampled.std() < 1.25
    assert abs(sampled.mean()) < 0.15
