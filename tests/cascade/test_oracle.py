"""Tests that a cascade with perfect networks loses only the cost of resampling, on synthetic and real kidneys."""

import numpy as np
import pytest
from harness import oracles

from kits_tf.phantoms import abdomen
from kits_tf.scans.nifti import read_labels
from kits_tf.volume import Volume

TOLERANCE = 0.002  # Dice


def check(predictor, truth, figure=None, name=""):
    scan = truth.with_voxels(oracles.HU[truth.voxels])
    labels, report = predictor.explain(scan)
    found = oracles.scores(labels.voxels, truth.voxels)
    best = oracles.scores(oracles.ceiling(truth.voxels, truth.spacing_mm), truth.voxels)
    if figure:
        masks = oracles.scores(oracles.mask_ceiling(truth.voxels, truth.spacing_mm), truth.voxels)
        figure(f"{name} {truth.voxels.shape} found {found[0]:.4f} {found[1]:.4f}  thresholds' ceiling {best[0]:.4f} "
               f"{best[1]:.4f}  masks' ceiling {masks[0]:.4f} {masks[1]:.4f}  kidneys {report['kidneys']}")
    assert found[0] > best[0] - TOLERANCE
    assert found[1] > best[1] - TOLERANCE
    return report


@pytest.mark.parametrize("kind", ["horseshoe", "two_tumors", *(
    pytest.param(kind, marks=pytest.mark.soak) for kind in ("ordinary", "single", "tiny", "giant"))])
def test_drawn_kidneys_come_back_within_two_thousandths_of_the_ceiling(oracle_predictor, kind):
    scanner = abdomen.Scanner(size_voxels=256, slice_mm=(4, 5))
    _, truth = abdomen.draw_abdomen(7, kind, scanner)
    report = check(oracle_predictor, truth)
    assert report["kidneys"] == (1 if kind in ("single", "horseshoe") else 2)


def test_a_kidney_282_pixels_wide_is_covered(oracle_predictor):
    labels = np.zeros((30, 300, 420), np.uint8)
    place = np.indices(labels.shape).reshape(3, -1).T
    wide = (((place - (15, 150, 210)) / (10, 45, 141)) ** 2).sum(axis=1) <= 1
    labels[wide.reshape(labels.shape)] = 1
    labels[12:18, 140:160, 60:100][labels[12:18, 140:160, 60:100] > 0] = 2
    report = check(oracle_predictor, Volume.from_spacing(labels, oracles.NORMALIZED_MM))
    assert report["kidneys"] == 1 and report["correction_used"]


@pytest.mark.parametrize("case", ["case_00010"])
def test_real_kidneys_come_back_within_two_thousandths_of_the_ceiling(oracle_predictor, real_masks, case):
    check(oracle_predictor, read_labels(next(path for path in real_masks if path.parent.name == case)))


@pytest.mark.soak
def test_all_real_kidneys_come_back_within_two_thousandths_of_the_ceiling(oracle_predictor, real_masks, figure):
    for path in real_masks:
        check(oracle_predictor, read_labels(path), figure, path.parent.name)
