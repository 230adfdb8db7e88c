"""Tests that predict.py without --model uses the model that ships, and prints its name."""

import shutil

import numpy as np
import pytest
from harness.patients import HU

from kits_tf import weights
from kits_tf.errors import InputError
from kits_tf.files import exports
from kits_tf.scans.nifti import read_labels, write_volume
from kits_tf.serving import Predictor
from kits_tf.serving.__main__ import predict


@pytest.fixture
def scan(small_patient):
    return small_patient.with_voxels(HU[small_patient.voxels])


def test_predict_takes_the_model_that_ships_and_says_so(quick_export, scan, tmp_path, monkeypatch, capsys):
    shutil.copytree(exports.find_export(quick_export), tmp_path / "weights" / "7")
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    write_volume(tmp_path / "scan.nii.gz", scan)
    assert predict(None, tmp_path / "scan.nii.gz", tmp_path / "out", overlay=False) == 0
    assert "using the model that ships" in capsys.readouterr().err
    predictor = Predictor()
    assert predictor.path == tmp_path / "weights" / "7"
    found = read_labels(tmp_path / "out" / "prediction_scan.nii.gz").voxels
    assert found.any()
    assert np.array_equal(found, predictor.predict(scan).voxels)


def test_an_installation_without_a_model_is_one_line(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    write_volume(tmp_path / "scan.nii.gz", scan)
    with pytest.raises(InputError, match="no model ships with this installation of kits_tf; name one with --model"):
        predict(None, tmp_path / "scan.nii.gz", tmp_path / "out")
    with pytest.raises(InputError, match="no model ships"):
        Predictor()
