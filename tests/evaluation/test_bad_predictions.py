"""Tests that invalid predictions score 0 with a reason, and that other scores do not change."""

import csv

import nibabel as nib
import numpy as np
import pytest
from harness.bad_scans import REFUSED

from kits_tf.errors import InputError
from kits_tf.evaluation.evaluator import evaluate_study, find_cases
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

SPACING_MM = (5.0, 2.0, 4.0)


def kidney():
    labels = np.zeros((6, 8, 10), np.uint8)
    labels[1:5, 2:6, 2:7] = 1
    labels[1, 2:4, 2:7] = 2
    return labels


def put(path, labels=None, spacing_mm=SPACING_MM):
    write_volume(path, Volume.from_spacing(kidney() if labels is None else labels, spacing_mm))


def value(wrong, dtype):
    def make(path):
        labels = kidney().astype(dtype)
        labels[0, 0, 0] = wrong
        image = nib.Nifti1Image(labels, Volume.from_spacing(labels, SPACING_MM).affine)
        nib.save(image, path)
    return make


def aside(path):
    volume = Volume.from_spacing(kidney(), SPACING_MM)
    affine = volume.affine.copy()
    affine[0, 3] += 3.0
    nib.save(nib.Nifti1Image(kidney(), affine), path)


BAD = {
    "label 3": (value(3, np.int16), "holds label 3, expected only 0, 1, 2"),
    "label -1": (value(-1, np.int16), "holds label -1, expected only 0, 1, 2"),
    "label half": (value(0.5, np.float32), "holds label 0.5, expected only 0, 1, 2"),
    "other shape": (lambda path: put(path, kidney()[:5]),
                    "has shape (5, 8, 10) (z, y, x), expected that of its labels, (6, 8, 10)"),
    "other spacing": (lambda path: put(path, spacing_mm=(5.0, 2.0, 4.1)), "is up to 0.95 mm away from its labels"),
    "other place": (aside, "is up to 3.00 mm away from its labels"),
    **{name: (REFUSED[name][0], ": ") for name in ("cut.nii.gz", "text.nii.gz", "2d.nii.gz", "frames.nii.gz",
                                                   "loop.nii.gz", "folder.nii.gz", "pipe.nii.gz", "huge.nii.gz",
                                                   "bomb_behind.nii.gz", "nan.nii.gz", "rgb.nii.gz")},
}
GOOD = ("case_00001", "Größe, 腎臓 1")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """(exit status, rows by case) of the command."""
    folder = tmp_path_factory.mktemp("scored")
    for name in (*GOOD, *BAD):
        put(folder / "study" / name / "segmentation.nii.gz")
        path = folder / "found" / f"prediction_{name.removeprefix('case_')}.nii.gz"
        if name in GOOD:
            put(path)
        else:
            path.parent.mkdir(exist_ok=True)
            BAD[name][0](path)
    status = evaluate_study(folder / "found", folder / "study", folder / "scores")
    with open(folder / "scores" / "scores.csv", encoding="utf-8", newline="") as stream:
        return status, {row["case"]: row for row in csv.DictReader(stream)}


def test_the_good_ones_score_1_and_the_status_is_1(scored):
    status, rows = scored
    assert status == 1
    assert set(rows) == {*GOOD, *BAD}
    assert [float(rows[name]["tk_dice"]) for name in GOOD] == [1.0, 1.0]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_prediction_scores_0_and_says_why(name, scored):
    row = scored[1][name]
    assert (float(row["tk_dice"]), float(row["tu_dice"])) == (0.0, 0.0)
    assert BAD[name][1] in row["note"]
    assert f"prediction_{name}.nii.gz" in row["note"]


@pytest.mark.parametrize("names", [("case_00001", "00001"), ("case_00001", "prediction_00001")])
def test_two_cases_of_one_id_are_refused(names, tmp_path):
    for name in names:
        put(tmp_path / "study" / name / "segmentation.nii.gz")
    put(tmp_path / "found" / "prediction_00001.nii.gz")
    with pytest.raises(InputError, match=r"are both named 00001|both belong to case 00001"):
        evaluate_study(tmp_path / "found", tmp_path / "study", tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize(("truth", "found", "tk", "tu"), [
    (0 * kidney(), 0 * kidney(), 1.0, 1.0), (0 * kidney(), kidney(), 0.0, 0.0),
    (np.minimum(kidney(), 1), np.minimum(kidney(), 1), 1.0, 1.0), (np.minimum(kidney(), 1), kidney(), 1.0, 0.0)])
def test_empty_labels_and_labels_without_tumor_have_a_score(truth, found, tk, tu, tmp_path):
    put(tmp_path / "study" / "case_00001" / "segmentation.nii.gz", truth)
    put(tmp_path / "found" / "prediction_00001.nii.gz", found)
    assert evaluate_study(tmp_path / "found", tmp_path / "study", tmp_path / "scores") == 0
    with open(tmp_path / "scores" / "scores.csv", newline="") as stream:
        row, = csv.DictReader(stream)
    assert (float(row["tk_dice"]), float(row["tu_dice"])) == (tk, tu)


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a/b", "case_99999"])
def test_a_case_asked_for_is_only_looked_up(name, tmp_path):
    put(tmp_path / "study" / "case_00001" / "segmentation.nii.gz")
    (tmp_path / "found").mkdir()
    with pytest.raises(InputError, match="no labels for case"):
        find_cases(tmp_path / "found", tmp_path / "study", [name])
