"""Compares scores with KiTS23's definition, computed here from the files by SimpleITK and surface-distance.

Source of the definition: neheller/kits23, kits23/evaluation/metrics.py and kits23/configuration/labels.py.
"""

import json

import numpy as np
import pytest
import SimpleITK
import surface_distance
from harness.patients import ball
from harness.tables import read_rows

from kits_tf.evaluation.evaluator import evaluate_study
from kits_tf.scans import label_map
from kits_tf.scans.layouts import DataSet
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

SPACING_MM = (3.0, 0.9, 1.1)
# Hierarchical evaluation classes: labels that are merged, tolerance in mm, our columns of Dice and surface Dice.
CLASSES = {
    "kidney and mass": ((1, 2, 3), 1.0330772532390826, "tk_dice", "kidney_and_mass_surface_dice"),
    "mass": ((2, 3), 1.1328796488598762, "mass_dice", "mass_surface_dice"),
    "tumor": ((2,), 1.1498198361434828, "tu_dice", "tumor_surface_dice"),
}


def by_kits23(predicted, truth):
    """Returns {column: score} of two files, as KiTS23 defines them."""
    images = [SimpleITK.ReadImage(str(path)) for path in (predicted, truth)]
    spacing_mm = images[0].GetSpacing()[::-1]
    arrays = [SimpleITK.GetArrayFromImage(image) for image in images]
    found = {}
    for values, tolerance_mm, dice, surface in CLASSES.values():
        mine, true = (np.isin(array, values) for array in arrays)
        if not mine.any() and not true.any():
            found[dice] = found[surface] = 1.0
        elif not mine.any() or not true.any():
            found[dice] = found[surface] = 0.0
        else:
            found[dice] = 2 * np.sum(mine & true) / (mine.sum() + true.sum())
            distances = surface_distance.compute_surface_distances(true, mine, spacing_mm)
            found[surface] = surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm)
    return found


def labels_of(case, cysts=True):
    """Labels of two kidneys, a tumor and two cysts, different for every case; without `cysts` these are kidney."""
    labels = np.zeros((22, 40, 52), np.uint8)
    labels[ball(labels.shape, (10, 18, 14), (6, 9, 8))] = 1
    labels[ball(labels.shape, (11, 21, 38), (7, 8 + case, 9))] = 1
    labels[ball(labels.shape, (13, 25, 42), (3, 4, 4 + case))] = 2
    labels[ball(labels.shape, (7, 14, 12), (2, 3 + case, 3))] = 3
    labels[ball(labels.shape, (14, 14, 33), (2, 2, 3))] = 3
    return labels if cysts else np.where(labels == 3, np.uint8(1), labels)


def write(path, labels):
    write_volume(path, Volume.from_spacing(labels, SPACING_MM))
    return path


@pytest.fixture
def kits23(tmp_path):
    """Three cases as KiTS23 is downloaded; the third has neither tumor nor cyst."""
    for number in range(3):
        case = tmp_path / "dataset" / f"case_0000{number}"
        labels = labels_of(number)
        write(case / "segmentation.nii.gz", np.minimum(labels, 1) if number == 2 else labels)
        (case / "instances").mkdir()
    return tmp_path


def rows_of(folder):
    return {row["case"]: row for row in read_rows(folder / "scores" / "scores.csv")}


@pytest.mark.parametrize(("name", "cysts"), [("prediction_{}.nii.gz", False), ("case_{}.nii.gz", True)])
def test_scores_are_those_of_kits23_for_our_predictions_and_for_nnunets(name, cysts, kits23):
    found = {}
    for number in range(3):
        drawn = np.roll(labels_of(number, cysts=cysts), (0, 1, -1), (0, 1, 2))
        found[number] = write(kits23 / "found" / name.format(f"0000{number}"), drawn)
    assert evaluate_study(kits23 / "found", kits23, kits23 / "scores") == 0
    rows = rows_of(kits23)
    for number in range(3):
        case = f"case_0000{number}"
        expected = by_kits23(found[number], kits23 / "dataset" / case / "segmentation.nii.gz")
        assert {column: float(rows[case][column]) for column in expected} == pytest.approx(expected, abs=2e-6)
    assert 0 < float(rows["case_00000"]["mass_dice"]) < 1 and float(rows["case_00002"]["mass_dice"]) == 0


def test_masses_are_scored_only_where_cysts_are_labeled(kits23, capsys):
    for number in range(3):
        write(kits23 / "found" / f"prediction_0000{number}.nii.gz", labels_of(number, cysts=False))
    plain = label_map.parse("kidney:1,tumor:2,kidney:3")
    assert evaluate_study(kits23 / "found", DataSet(kits23, labels=plain), kits23 / "scores") == 0
    rows, summary = rows_of(kits23), json.loads((kits23 / "scores" / "summary.json").read_text())
    for column in ("mass_dice", "mass_surface_dice"):
        assert {row[column] for row in rows.values()} == {""} and column not in summary["scores"]
    assert [float(row["tk_dice"]) for row in rows.values()] == [1.0, 1.0, 1.0]
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "case", "tk_dice", "tu_dice", "composite", "kidney+mass", "tumor"]
    assert evaluate_study(kits23 / "found", kits23, kits23 / "scores") == 0
    assert float(rows_of(kits23)["case_00000"]["mass_dice"]) < 1
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "case", "tk_dice", "tu_dice", "composite", "mass", "kidney+mass", "mass", "tumor"]


def test_a_missing_prediction_scores_0_for_masses_too(kits23):
    write(kits23 / "found" / "prediction_00000.nii.gz", labels_of(0, cysts=False))
    assert evaluate_study(kits23 / "found", kits23, kits23 / "scores") == 0
    assert float(rows_of(kits23)["case_00001"]["mass_dice"]) == 0.0


def test_predictions_under_their_own_names_have_the_values_of_the_data_set(tmp_path):
    """As nnU-Net writes them; prediction_* always has ours."""
    truth = np.array([0, 4, 9], np.uint8)[np.minimum(labels_of(0, cysts=False), 2)]
    write(tmp_path / "D" / "labelsTr" / "a.nii.gz", truth)
    (tmp_path / "D" / "imagesTr").mkdir()
    (tmp_path / "D" / "imagesTr" / "a_0000.nii.gz").touch()
    (tmp_path / "D" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "kidney": 4, "tumor": 9}}))
    write(tmp_path / "theirs" / "a.nii.gz", truth)
    write(tmp_path / "ours" / "prediction_a.nii.gz", labels_of(0, cysts=False))
    for name in ("theirs", "ours"):
        assert evaluate_study(tmp_path / name, tmp_path / "D", tmp_path / "scores") == 0
        assert [float(rows_of(tmp_path)["a"][column]) for column in ("tk_dice", "tu_dice")] == [1.0, 1.0]
