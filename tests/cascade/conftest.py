"""Fixtures: the traced demo cascade and a patient to run through it."""

import numpy as np
import pytest
from harness.patients import ball
from harness.threshold_nets import traced

from kits_tf import config as configs


@pytest.fixture(scope="session")
def cascade():
    """The demo cascade, traced once."""
    return traced(configs.PRESETS["demo"])


@pytest.fixture
def patient():
    """Labels (40, 150, 220): two kidneys of at least 40 ml each, with a tumor on the one at high x."""
    labels = np.zeros((40, 150, 220), np.uint8)
    labels[ball(labels.shape, (18, 80, 60), (9, 14, 12))] = 1
    labels[ball(labels.shape, (16, 84, 160), (9, 13, 13))] = 1
    labels[ball(labels.shape, (17, 96, 166), (4, 8, 9))] = 2
    return labels
