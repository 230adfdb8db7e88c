"""Tests the comparison of two precisions: Dice with each other and with the ground truth, counted by hand."""

import numpy as np
import pytest
import tensorflow as tf

from kits_tf.cascade import compare
from kits_tf.errors import InputError
from kits_tf.phantoms import sample
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

SPACING_MM = (5.0, 2.0, 2.0)


def answering(labels):
    """Returns a cascade that gives these labels for any scan of their shape, and empty labels for other scans."""
    def function(volume, spacing_mm):
        found = labels if volume.shape == labels.shape else np.zeros(volume.shape, np.uint8)
        return {"labels": tf.constant(found)}
    return function


def row_of_eight(**classes):
    """Returns labels (1, 1, 8) with kidney and tumor at the given positions."""
    labels = np.zeros((1, 1, 8), np.uint8)
    for value, name in enumerate(("kidney", "tumor"), start=1):
        labels[0, 0, list(classes.get(name, []))] = value
    return labels


@pytest.fixture
def rows():
    truth = Volume.from_spacing(row_of_eight(kidney=[0, 1, 2], tumor=[3]), SPACING_MM)
    scan = truth.with_voxels(np.zeros((1, 1, 8), np.int16))
    float32 = answering(row_of_eight(kidney=[0, 1, 2], tumor=[3]))
    bfloat16 = answering(row_of_eight(kidney=[0, 1], tumor=[3, 4]))
    return compare.compare(float32, bfloat16, [("with truth", scan, truth), ("without", scan, None)])


def test_dice_is_counted_between_the_two_and_with_the_truth(rows):
    first, second = rows
    assert first["kidney"] == pytest.approx(2 * 3 / (4 + 4))
    assert first["tumor"] == pytest.approx(2 * 1 / (1 + 2))
    assert (first["kidney_reference"], first["tumor_reference"]) == (1.0, 1.0)
    assert first["kidney_other"] == pytest.approx(0.75) and first["tumor_other"] == pytest.approx(2 / 3)
    assert second["kidney"] == first["kidney"] and np.isnan(second["kidney_reference"])


def test_the_least_dice_leaves_out_masks_below_a_milliliter(rows):
    assert rows[0]["kidney_ml"] == pytest.approx(4 * 0.02) and rows[0]["tumor_ml"] == pytest.approx(2 * 0.02)
    assert compare.least_dice(rows) == 1.0
    first, second = ({**row, "kidney_ml": 150.0} for row in rows)
    assert compare.least_dice([first, {**second, "kidney": 0.9}]) == 0.75  # the worst case, not the mean
    assert compare.least_dice([{**first, "tumor_ml": 1.0}]) == pytest.approx(2 / 3)


def test_the_table_names_cases_and_precisions_and_ends_with_the_mean(rows):
    lines = compare.table(rows[:1], "float32", "bfloat16").splitlines()
    assert lines[1].split()[0] == "case" and lines[1].count("float32 > bfloat16") == 3
    assert lines[2].startswith("with truth") and "0.7500" in lines[2] and "1.0000 > 0.6667" in lines[2]
    assert lines[-1].startswith("mean") and "1.0000 > 0.7500" in lines[-1]


def test_a_study_s_cases_come_with_their_labels_where_there_are_any(tmp_path):
    scan = Volume.from_spacing(np.zeros((2, 3, 4), np.int16), SPACING_MM)
    write_volume(tmp_path / "case_00000" / "imaging.nii.gz", scan)
    write_volume(tmp_path / "case_00001" / "imaging.nii.gz", scan)
    write_volume(tmp_path / "case_00001" / "segmentation.nii.gz", scan.with_voxels(np.ones((2, 3, 4), np.uint8)))
    (first, _, none), (second, _, labels) = compare.study_cases(tmp_path)
    assert (first, none, second) == ("case_00000", None, "case_00001")
    assert labels.voxels.all()
    write_volume(tmp_path / "case_00002" / "imaging.nii.gz", scan)
    write_volume(tmp_path / "case_00002" / "segmentation.nii.gz", Volume.from_spacing(labels.voxels, (5.0, 2.0, 2.1)))
    with pytest.raises(InputError, match=r"case_00002.* is up to 0.35 mm away from its scan"):
        list(compare.study_cases(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="contains no scan"):
        list(compare.study_cases(tmp_path / "empty"))


def test_drawn_patients_have_kidneys_and_tumors():
    name, scan, labels = next(iter(sample.drawn_cases()))
    assert name.startswith("drawn ") and scan.voxels.shape == labels.voxels.shape
    assert set(np.unique(labels.voxels)) == {0, 1, 2}
