"""Tests predict.py on data sets in other layouts and formats: names, values and formats of its labels."""

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from harness import commands
from harness.patients import HU
from harness.tables import read_rows

from kits_tf.errors import InputError
from kits_tf.evaluation.evaluator import evaluate_study
from kits_tf.reporting import color_tables
from kits_tf.scans import formats, label_map
from kits_tf.scans.layouts import DataSet
from kits_tf.scans.nifti import read_labels, write_volume
from kits_tf.serving.__main__ import predict


def nnunet(folder, patient, labels):
    """Writes an nnU-Net data set with one case to train on and one to test."""
    values = np.array([0, labels["kidney"], labels["tumor"]], np.uint8)[patient.voxels]
    scan = patient.with_voxels(HU[patient.voxels])
    write_volume(folder / "imagesTr" / "case_00000_0000.nii.gz", scan)
    write_volume(folder / "imagesTs" / "case_00001_0000.nii.gz", scan.with_voxels(scan.voxels + np.int16(1)))
    write_volume(folder / "labelsTr" / "case_00000.nii.gz", patient.with_voxels(values))
    (folder / "dataset.json").write_text(json.dumps({
        "labels": {"background": 0, **labels}, "channel_names": {"0": "CT"}, "numTraining": 1,
        "file_ending": ".nii.gz"}))
    return folder


@pytest.mark.parametrize("labels", [{"kidney": 1, "tumor": 2}, {"tumor": 4, "kidney": 7}])
def test_labels_under_a_data_sets_own_names_and_values_score_alike(labels, quick_export, small_patient, tmp_path,
                                                                   capsys):
    data = nnunet(tmp_path / "Dataset001_Kidney", small_patient, labels)
    assert predict(quick_export, data, tmp_path / "own", names="case", overlay=False) == 0
    assert f"{data}: taken as an nnU-Net data set: 2 cases, 1 with labels" in capsys.readouterr().err
    assert predict(quick_export, data, tmp_path / "kits", overlay=False) == 0
    written = {path.name for path in (tmp_path / "own").glob("*.nii.gz")}
    assert written == {"case_00000.nii.gz", "case_00001.nii.gz"}
    for number in ("00000", "00001"):
        own = read_labels(tmp_path / "own" / f"case_{number}.nii.gz", range(256)).voxels
        ours = read_labels(tmp_path / "kits" / f"prediction_{number}.nii.gz").voxels
        np.testing.assert_array_equal(own, np.array([0, labels["kidney"], labels["tumor"]])[ours])
    for name in ("own", "kits"):
        assert evaluate_study(tmp_path / name, data, tmp_path / name / "scores") == 0
    own, kits = (read_rows(tmp_path / name / "scores" / "scores.csv") for name in ("own", "kits"))
    assert own == kits and float(own[0]["tk_dice"]) > 0.9


def test_a_rerun_under_own_names_is_up_to_date(quick_export, small_patient, tmp_path, capsys):
    data = nnunet(tmp_path / "D", small_patient, {"kidney": 1, "tumor": 2})
    for _ in range(2):
        assert predict(quick_export, data / "imagesTs", tmp_path / "own", names="case", overlay=False) == 0
    assert "0 done, 1 unchanged" in capsys.readouterr().err
    told = label_map.parse("kidney:3,tumor:5")
    scans = DataSet(data / "imagesTs", labels=told)
    assert predict(quick_export, scans, tmp_path / "own", names="case", overlay=False) == 0
    assert set(np.unique(read_labels(tmp_path / "own" / "case_00001.nii.gz", range(256)).voxels)) == {0, 3, 5}


def test_names_that_cannot_be_written_are_refused_before_the_work(quick_export, small_patient, tmp_path):
    data = nnunet(tmp_path / "D", small_patient, {"kidney": 1, "tumor": 2})
    with pytest.raises(InputError, match="is the folder of the scans"):
        predict(quick_export, data / "imagesTs", data / "imagesTs", names="case")
    twice = label_map.parse("kidney:1,kidney:2,tumor:3")
    with pytest.raises(InputError, match="have not one value for kidney and one for tumor"):
        predict(quick_export, DataSet(data, labels=twice), tmp_path / "out", names="case")
    (data / "imagesTs" / "case_00001_0000.nii.gz").rename(data / "imagesTs" / "report_0000.nii.gz")
    with pytest.raises(InputError, match="under the name of a table"):
        predict(quick_export, data / "imagesTs", tmp_path / "out", names="case")


def test_the_report_compares_with_ground_truth_of_any_values(quick_export, small_patient, tmp_path):
    data = nnunet(tmp_path / "D", small_patient, {"tumor": 4, "kidney": 7})
    assert predict(quick_export, data, tmp_path / "out", report=True, overlay=False) == 0
    rows = {row["case"]: row for row in read_rows(tmp_path / "out" / "summary.csv")}
    assert float(rows["case_00000"]["tk_dice"]) > 0.9 and rows["case_00001"]["tk_dice"] == ""


@pytest.mark.parametrize(("ending", "options", "written"), [
    ("nrrd", {"formats": ("same",)}, ["nrrd"]), ("mhd", {"formats": ("same",)}, ["mha"]),
    ("mha", {"formats": ("nifti",)}, ["nii.gz"]), ("nii.gz", {"formats": ("same", "nrrd")}, ["nii.gz", "nrrd"])])
def test_labels_come_in_the_scans_format_or_in_another(ending, options, written, quick_export, small_patient, tmp_path):
    write_volume(tmp_path / "plain.nii.gz", small_patient.with_voxels(HU[small_patient.voxels]))
    scan = tmp_path / "scans" / f"a.{ending}"
    scan.parent.mkdir()
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(tmp_path / "plain.nii.gz")), str(scan))
    assert predict(quick_export, scan, tmp_path / "out", overlay=False, **options) == 0
    assert predict(quick_export, tmp_path / "plain.nii.gz", tmp_path / "out", overlay=False) == 0
    expected = read_labels(tmp_path / "out" / "prediction_plain.nii.gz")
    assert sorted(path.name for path in (tmp_path / "out").glob("prediction_a.*") if path.suffix != ".json") == [
        f"prediction_a.{name}" for name in written]
    for name in written:
        found, _ = formats.read_labels(tmp_path / "out" / f"prediction_a.{name}")
        np.testing.assert_array_equal(found.voxels, expected.voxels)
        stored = SimpleITK.ReadImage(str(tmp_path / "out" / f"prediction_a.{name}"))
        assert stored.GetSize() == SimpleITK.ReadImage(str(scan)).GetSize()


def test_color_tables_name_the_labels_in_the_overlays_colors(quick_export, small_patient, tmp_path):
    data = nnunet(tmp_path / "D", small_patient, {"tumor": 4, "kidney": 7})
    done = commands.run("predict.py", f"--model={quick_export}", f"--input={data}", f"--output={tmp_path / 'out'}",
                        "--color_tables", "--names=case", "--nooverlay")
    assert done.returncode == 0, done.stderr
    slicer = (tmp_path / "out" / "labels.ctbl").read_text().splitlines()
    assert slicer[2:] == ["0 background 0 0 0 0", "7 kidney 86 180 233 255", "4 tumor 255 140 26 255"]
    snap = [line.split(None, 7) for line in (tmp_path / "out" / "labels.txt").read_text().splitlines()
            if not line.startswith("#")]
    assert [(line[0], line[7]) for line in snap] == [("0", '"Clear Label"'), ("7", '"kidney"'), ("4", '"tumor"')]
    assert [" ".join(line[1:7]) for line in snap][1:] == ["86 180 233 1 1 1", "255 140 26 1 1 1"]
    assert color_tables.COLORS[1] == "#56b4e9"


def test_nibabel_reads_what_was_written_for_an_oblique_scan(quick_export, small_patient, tmp_path):
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    image = nib.Nifti1Image(HU[small_patient.voxels], turn @ small_patient.affine)
    nib.save(image, tmp_path / "plain.nii.gz")
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(tmp_path / "plain.nii.gz")), str(tmp_path / "a.nrrd"))
    assert predict(quick_export, tmp_path / "a.nrrd", tmp_path / "out", overlay=False, formats=("nifti",)) == 0
    found = nib.load(tmp_path / "out" / "prediction_a.nii.gz")
    assert found.shape == image.shape
    np.testing.assert_allclose(found.affine, image.affine, atol=1e-4)
