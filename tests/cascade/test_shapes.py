"""Tests that volumes of any size and spacing run through the same graph."""

import numpy as np
import pytest
from harness.patients import HU, SPACING_MM, ball


@pytest.mark.parametrize("fill", [-1024, -79, 100, 3000, -32768, 32767])
@pytest.mark.parametrize("shape", [(1, 40, 50), (3, 1, 1), (29, 64, 48)])
def test_volumes_of_one_value_give_labels_of_their_shape(cascade, shape, fill):
    labels, report = cascade(np.full(shape, fill, np.int16), (5.0, 2.0, 2.0))
    assert labels.shape == shape and labels.dtype == np.uint8
    assert np.isfinite([report["kidney_ml"], report["tumor_ml"]]).all()


def test_all_air_has_no_kidney(cascade):
    labels, report = cascade(np.full((20, 60, 60), -1024, np.int16))
    assert not labels.any() and report["kidneys"] == 0 and report["coarse_empty"] and report["correction_used"]


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.6, 0.6), (1.0, 3.0, 1.5632), (10.0, 1.5632, 2.2), (20.0, 0.9, 0.9)])
def test_any_spacing_keeps_organs_where_they_are(cascade, patient, spacing_mm):
    """Resampling may change the edges of organs, but not their position or scale."""
    step = np.array(spacing_mm) / SPACING_MM
    shape = np.maximum(1, np.round(np.array(patient.shape) / step)).astype(int)
    nearest = [np.minimum(((np.arange(size) + 0.5) * at).astype(int), limit - 1)
               for size, at, limit in zip(shape, step, patient.shape, strict=True)]
    labels = patient[np.ix_(*nearest)]
    found, report = cascade(labels, spacing_mm)
    assert report["kidneys"] == 2
    assert 2 * ((found > 0) & (labels > 0)).sum() / ((found > 0).sum() + (labels > 0).sum()) > 0.95
    np.testing.assert_allclose([hit.mean() for hit in np.nonzero(found)],
                               [hit.mean() for hit in np.nonzero(labels)], atol=0.3)
    expected_ml = [(found == kind).sum() * np.prod(spacing_mm) / 1000 for kind in (1, 2)]
    np.testing.assert_allclose([report["kidney_ml"], report["tumor_ml"]], expected_ml, rtol=1e-5)


def test_slices_that_are_not_square_are_padded_and_not_stretched(cascade):
    labels = np.zeros((24, 100, 260), np.uint8)
    labels[ball(labels.shape, (12, 50, 40), (8, 14, 14))] = 1
    labels[ball(labels.shape, (12, 50, 220), (8, 14, 14))] = 1
    found, report = cascade(labels)
    assert np.array_equal(found, labels)
    slim, slim_report = cascade(np.ascontiguousarray(labels.transpose(0, 2, 1)))
    assert np.array_equal(slim, labels.transpose(0, 2, 1))
    np.testing.assert_allclose(report["coarse_components_ml"], slim_report["coarse_components_ml"], rtol=1e-4)


def test_a_kidney_cut_by_the_volume_s_edge_is_still_found(cascade, patient):
    cut = np.ascontiguousarray(patient[12:, 70:, 55:])
    found, _ = cascade(cut)
    assert np.array_equal(found, cut)


def test_kidney_thresholds_do_not_depend_on_where_outside_begins(cascade, patient):
    """More air around a scan changes nothing, because the outside counts as air."""
    inner = HU[patient]
    inner[:, :20] = inner[:, -20:] = inner[:, :, :20] = inner[:, :, -20:] = -1024
    padded = np.pad(inner, ((0, 0), (32, 32), (64, 64)), constant_values=-1024)
    found, _ = cascade(inner)
    more, _ = cascade(padded)
    assert np.array_equal(more[:, 32:-32, 64:-64], found)
