"""Fixture: a patient small enough to be predicted in a moment."""

import numpy as np
import pytest
from harness import patients


@pytest.fixture(scope="session")
def small_patient():
    return patients.small_patient()


@pytest.fixture(scope="session")
def tiny_answer(tiny_export, small_patient):
    """(scan, labels, report): the small patient's scan and the result of `tiny_export`, loaded in this process."""
    from kits_tf.serving import Predictor

    scan = small_patient.with_voxels(patients.HU[small_patient.voxels])
    labels, report = Predictor(tiny_export[2]).explain(scan)
    assert set(np.unique(labels.voxels)) == {0, 1, 2}
    return scan, labels.voxels, report
