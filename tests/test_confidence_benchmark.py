"""Tests how benchmarks/confidence matches findings with the ground truth, and what it computes from them."""

import json

import numpy as np
import pytest

from benchmarks.confidence import matching
from kits_tf.errors import InputError
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume


def rows(confidences, true, volumes=None):
    volumes = np.full(len(true), 5.0) if volumes is None else volumes
    return np.stack([np.arange(len(true)) // 4, volumes, confidences, true], axis=1).astype(float)


def test_a_finding_is_true_if_enough_of_it_is(tmp_path):
    spacing_mm, truth, predicted = (5.0, 2.0, 2.0), *np.zeros((2, 6, 40, 60), np.uint8)
    predicted[1:4, 5:15, 5:15], truth[1:4, 5:15, 8:20] = 2, 2  # true: seven tenths of it
    predicted[1:4, 25:35, 30:40] = 2  # false
    predicted[5, 38, 58] = 2  # a speck of 0.02 ml
    write_volume(tmp_path / "study" / "case_00001" / "segmentation.nii.gz", Volume.from_spacing(truth, spacing_mm))
    write_volume(tmp_path / "out" / "prediction_00001.nii.gz", Volume.from_spacing(predicted, spacing_mm))
    found = [{"centre_zyx": [2, 30, 34], "volume_ml": 6.0, "confidence": 0.3},
             {"centre_zyx": [2, 9, 9], "volume_ml": 6.1, "confidence": 0.9}]
    (tmp_path / "out" / "prediction_00001.json").write_text(json.dumps({"tumors_found": found}))
    listed = matching.findings(tmp_path / "out", tmp_path / "study", "tumors")
    assert sorted(map(tuple, listed[:, 1:])) == [(6.0, 0.3, 0.0), (6.1, 0.9, 1.0)]
    with pytest.raises(InputError, match="no report of a case"):
        matching.findings(tmp_path, tmp_path / "study", "tumors")


def test_auroc_counts_ordered_pairs_and_halves_ties():
    assert matching.auroc(np.array([0.9, 0.5, 0.5, 0.1]), np.array([1, 1, 0, 0])) == pytest.approx(3.5 / 4)
    low, high = matching.interval(rows(np.linspace(0.1, 0.9, 40), np.arange(40) >= 20))
    assert low == high == 1.0


def test_fit_finds_the_coefficients_that_drew_the_findings():
    rng = np.random.default_rng(0)
    mean, volume = rng.uniform(0.5, 0.99, 20000), np.exp(rng.normal(1.0, 1.5, 20000))
    logits = -1.0 + 0.8 * np.log(mean / (1 - mean)) + 0.5 * np.log(volume)
    true = rng.uniform(size=20000) < 1 / (1 + np.exp(-logits))
    assert matching.fit(rows(mean, true, volume), (0.0, 1.0, 0.0)) == pytest.approx((-1.0, 0.8, 0.5), abs=0.15)
    # Confidences that were corrected before give the same coefficients.
    corrected = 1 / (1 + np.exp(-logits))
    assert matching.fit(rows(corrected, true, volume), (-1.0, 0.8, 0.5)) == pytest.approx((-1.0, 0.8, 0.5), abs=0.15)
