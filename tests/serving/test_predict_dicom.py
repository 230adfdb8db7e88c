"""Tests predict.py on DICOM series: the same labels as for NIfTI, and a DICOM segmentation of them."""

import json

import highdicom as hd
import numpy as np
import pydicom
import pytest
from harness.dicom_series import slices_of, write_series
from harness.patients import HU
from harness.tables import read_rows

from kits_tf.scans.dicom import read_series
from kits_tf.scans.nifti import read_labels, write_volume
from kits_tf.serving.__main__ import predict


@pytest.fixture
def scans(small_patient, tmp_path):
    """A folder with one scan as a DICOM series; its slices run from feet to head, as is common in DICOM."""
    hu = HU[small_patient.voxels].astype(np.int16)
    write_series(tmp_path / "scans" / "patient", slices_of(hu[::-1], small_patient.spacing_mm))
    return tmp_path / "scans"


def test_a_series_gets_the_labels_of_the_same_scan_as_nifti(quick_export, scans, tmp_path):
    volume, _ = read_series(scans / "patient")
    write_volume(tmp_path / "nifti" / "patient.nii.gz", volume)
    assert predict(quick_export, scans, tmp_path / "a", formats=("nifti", "dicomseg")) == 0
    assert predict(quick_export, tmp_path / "nifti", tmp_path / "b") == 0
    by_dicom, by_nifti = (read_labels(tmp_path / name / "prediction_patient.nii.gz") for name in "ab")
    assert set(np.unique(by_nifti.voxels)) == {0, 1, 2}
    np.testing.assert_array_equal(by_dicom.voxels, by_nifti.voxels)
    np.testing.assert_allclose(by_dicom.affine, by_nifti.affine, atol=1e-4)
    segmentation = hd.seg.segread(tmp_path / "a" / "prediction_patient.dcm")
    drawn = segmentation.get_volume(combine_segments=True).array
    assert [np.count_nonzero(drawn == value) for value in (1, 2)] == [
        np.count_nonzero(by_nifti.voxels == value) for value in (1, 2)]


def test_a_series_is_predicted_again_only_if_a_slice_changed(quick_export, scans, tmp_path, capsys):
    told = []
    for _ in range(2):
        predict(quick_export, scans, tmp_path / "out")
        told.append(capsys.readouterr().err.splitlines()[-1])
    hu = HU[np.zeros((24, 50, 70), int)].astype(np.int16)
    write_series(scans / "patient", slices_of(hu, (5.0, 2.1, 2.3)))
    predict(quick_export, scans, tmp_path / "out")
    told.append(capsys.readouterr().err.splitlines()[-1])
    assert [line.split(";")[0] for line in told] == [
        "1 done, 0 unchanged, 0 failed", "0 done, 1 unchanged, 0 failed", "0 done, 1 redone, 0 unchanged, 0 failed"]
    assert json.loads((tmp_path / "out" / "prediction_patient.json").read_text())["tumor_ml"] == 0


def test_a_segmentation_is_made_of_dicom_alone(quick_export, small_patient, tmp_path, capsys):
    write_volume(tmp_path / "one.nii.gz", small_patient.with_voxels(HU[small_patient.voxels]))
    assert predict(quick_export, tmp_path / "one.nii.gz", tmp_path / "out", formats=("dicomseg",)) == 1
    assert f"{tmp_path / 'one.nii.gz'}: is not a DICOM series" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {"summary.csv", "findings.csv", ".kits_tf.sha256"}


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.glob("prediction_*")}


@pytest.fixture
def nameless(scans):
    """The same scan from an anonymizer that took away what a segmentation must refer to."""
    for path in (scans / "patient").iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.SOPInstanceUID, dataset.file_meta.MediaStorageSOPInstanceUID
        dataset.save_as(path)
    return scans


def test_a_segmentation_that_cannot_be_made_leaves_the_other_outputs_alone(quick_export, nameless, tmp_path, capsys):
    assert predict(quick_export, nameless, tmp_path / "out") == 0
    before = files_in(tmp_path / "out")
    for _ in range(2):
        capsys.readouterr()
        assert predict(quick_export, nameless, tmp_path / "out", formats=("nifti", "dicomseg")) == 1
        told = capsys.readouterr().err.splitlines()[2:]  # after the device and the layout
        assert told[0].startswith("incomplete: patient: ") and "prediction_patient.dcm was not written: no" in told[0]
        assert told[-1].startswith("0 done, 0 unchanged, 1 incomplete, 0 failed")
    after = files_in(tmp_path / "out")
    assert after.keys() == before.keys()
    assert after["prediction_patient.nii.gz"] == before["prediction_patient.nii.gz"]
    report = json.loads(after["prediction_patient.json"])
    assert "a slice has no MediaStorageSOPInstanceUID" in report["missing"]["prediction_patient.dcm"]
    row, = read_rows(tmp_path / "out" / "summary.csv")
    assert row["status"] == "incomplete" and report["missing"]["prediction_patient.dcm"] in row["message"]


def test_labels_of_an_earlier_run_are_kept_by_a_run_that_can_only_fail(quick_export, nameless, tmp_path, capsys):
    assert predict(quick_export, nameless, tmp_path / "out") == 0
    before = files_in(tmp_path / "out")
    assert predict(quick_export, nameless, tmp_path / "out", formats=("dicomseg",)) == 1
    assert f"failed: {nameless / 'patient'}: no DICOM segmentation can be made" in capsys.readouterr().err
    assert files_in(tmp_path / "out") == before


def test_labels_are_written_where_only_the_segmentation_needs_dicom(quick_export, small_patient, tmp_path, capsys):
    write_volume(tmp_path / "one.nii.gz", small_patient.with_voxels(HU[small_patient.voxels]))
    given = quick_export, tmp_path / "one.nii.gz", tmp_path / "out"
    assert predict(*given, formats=("nifti", "dicomseg")) == 1
    assert "prediction_one.dcm was not written: is not a DICOM series" in capsys.readouterr().err
    assert files_in(tmp_path / "out").keys() == {f"prediction_one{ending}" for ending in (".nii.gz", ".png", ".json")}


@pytest.mark.parametrize("where", [".", "out", "../out"])
def test_output_into_a_series_own_folder_or_beside_it_is_up_to_date_the_next_time(where, quick_export, scans, tmp_path,
                                                                                  capsys):
    folder = scans / "patient"
    for expected in ("1 done, 0 unchanged, 0 failed", "0 done, 1 unchanged, 0 failed"):
        for given in (folder, scans):
            formats = ("nifti", "dicomseg")
            assert predict(quick_export, given, folder / where, formats=formats, report=True) == 0
            assert capsys.readouterr().err.splitlines()[-1].startswith(expected)
            expected = "0 done, 1 unchanged, 0 failed"
    assert (folder / where / "prediction_patient.dcm").exists()


def test_a_file_with_a_long_name_is_predicted_and_a_strange_one_fails_alone(quick_export, small_patient, tmp_path):
    for name in ("a" * 240, "b\nc", "d"):
        write_volume(tmp_path / "in" / f"{name}.nii.gz", small_patient.with_voxels(HU[small_patient.voxels]))
    assert predict(quick_export, tmp_path / "in", tmp_path / "out", overlay=False) == 1
    rows = read_rows(tmp_path / "out" / "summary.csv")
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert len(list((tmp_path / "out").glob("prediction_*.nii.gz"))) == 2
