"""Checks the table of findings against SciPy's components and means, and its correction by the formula."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from scipy.special import expit, logit

from kits_tf.cascade.confidence import LEAST_ML, findings
from kits_tf.cascade.kidney_steps import Region
from kits_tf.config import PRESETS

CONFIG = dataclasses.replace(PRESETS["demo"], spacing_mm=(4.0, 5.0, 5.0))  # voxels of 0.1 ml
ORIGIN, GRID, SHAPE = np.array([3, 5, 7]), np.array([30, 40, 50]), np.array([60, 30, 50])


def table(probabilities, coefficients=(0.0, 1.0, 0.0), threshold=0.5):
    region = Region(None, None, tf.constant(ORIGIN, tf.int32), tf.constant(GRID, tf.int32))
    return findings(tf.constant(probabilities), threshold, region, tf.constant(SHAPE, tf.int32), coefficients,
                    CONFIG).numpy()


@pytest.fixture
def probabilities():
    smooth = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(14, 18, 22)), 1.5)
    return np.clip(0.3 + 4 * smooth, 0, 1).astype(np.float32)


def test_rows_are_scipys_components_with_their_mean_probability(probabilities):
    numbered, count = ndimage.label(probabilities > 0.5, np.ones((3, 3, 3)))
    expected = []
    for number in range(1, count + 1):
        one = numbered == number
        centre = (np.argwhere(one).mean(axis=0) + ORIGIN + 0.5) * SHAPE / GRID - 0.5
        expected.append([*centre, one.sum() * 0.1, np.clip(probabilities[one].mean(), 0, 1 - 1e-6)])
    assert count > 2
    found = table(probabilities)
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], sorted(expected), atol=1e-3)


def test_the_correction_is_logistic_in_the_mean_and_the_volume(probabilities):
    raw, corrected = table(probabilities), table(probabilities, (0.5, 2.0, -0.3))
    expected = expit(0.5 + 2.0 * logit(raw[:, 4].astype(float)) - 0.3 * np.log(raw[:, 3]))
    np.testing.assert_allclose(corrected[:, 4], expected, atol=1e-4)
    np.testing.assert_array_equal(corrected[:, :4], raw[:, :4])


def test_specks_are_not_listed_and_nothing_gives_no_row():
    volume = np.zeros((6, 7, 8), np.float32)
    assert table(volume).shape == (0, 5)
    volume[1, 1, 1] = 0.9
    volume[4:6, 4:6, 4:6] = 0.8
    assert LEAST_ML == 0.1
    found = table(volume)
    assert found[:, 3].min() >= LEAST_ML - 1e-6
    assert len(table(volume, threshold=0.85)) == 1
