"""A patient small enough to be predicted in a moment."""

import numpy as np
import pytest
from threshold_nets import HU, ball

from kits_tf.volume import Volume


@pytest.fixture(scope="session")
def small_patient():
    """Labels (24, 50, 70) at 5 x 2.1 x 2.3 mm: two kidneys, a tumor on one of them, nothing symmetric."""
    labels = np.zeros((24, 50, 70), np.uint8)
    labels[ball(labels.shape, (11, 24, 17), (6, 10, 8))] = 1
    labels[ball(labels.shape, (13, 28, 52), (7, 9, 10))] = 1
    labels[ball(labels.shape, (15, 34, 55), (3, 6, 5))] = 2
    return Volume.from_spacing(labels, (5.0, 2.1, 2.3))


@pytest.fixture(scope="session")
def tiny_answer(tiny_export, small_patient):
    """(scan, labels, report): that patient's scan, and what `tiny_export`, loaded here, answers to it."""
    from kits_tf.serving import Predictor

    scan = small_patient.with_voxels(HU[small_patient.voxels])
    labels, report = Predictor(tiny_export[2]).explain(scan)
    assert set(np.unique(labels.voxels)) == {0, 1, 2}
    return scan, labels.voxels, report
