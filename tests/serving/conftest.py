"""Fixtures: a patient small enough to be predicted in a moment, and a small cascade to predict it."""

import numpy as np
import pytest
from harness import patients


@pytest.fixture(scope="session")
def small_patient():
    return patients.small_patient()


@pytest.fixture(scope="session")
def tiny_predictor(tiny_export):
    """The loaded predictor of `tiny_export`."""
    from kits_tf.serving import Predictor

    return Predictor(tiny_export[2])


@pytest.fixture(scope="session")
def tiny_answer(tiny_predictor, small_patient):
    """(scan, labels, report): the small patient's scan and the result of `tiny_predictor`."""
    scan = small_patient.with_voxels(patients.HU[small_patient.voxels])
    labels, report = tiny_predictor.explain(scan)
    assert set(np.unique(labels.voxels)) == {0, 1, 2}
    return scan, labels.voxels, report
