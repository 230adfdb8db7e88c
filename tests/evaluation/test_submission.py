"""Tests KiTS19 submissions: one zip with the checked files, or a one-line error and no zip."""

import zipfile

import nibabel as nib
import numpy as np
import pytest
from harness import commands

from kits_tf.errors import InputError
from kits_tf.evaluation.submission.packing import pack
from kits_tf.scans.nifti import write_labels, write_volume
from kits_tf.volume import Volume

IDS = range(210, 213)
SHAPE = (4, 5, 6)


@pytest.fixture
def folders(tmp_path):
    """(predictions, study) of three small cases that match."""
    study, predictions = tmp_path / "study", tmp_path / "predictions"
    for number in IDS:
        scan = study / f"case_{number:05d}" / "imaging.nii.gz"
        write_volume(scan, Volume.from_spacing(np.zeros(SHAPE, np.int16), (3.0, 0.8, 0.7)))
        labels = np.zeros(SHAPE, np.uint8)
        labels[1, 2, 3], labels[1, 2, 4] = 1, 2
        write_labels(predictions / f"prediction_{number:05d}.nii.gz", labels, like=scan)
    (predictions / "prediction_00210.json").write_text("{}")
    return predictions, study


def run(predictions, study, output, *flags):
    return commands.run("-m", "kits_tf.evaluation.submission", f"--predictions={predictions}", f"--study={study}",
                        f"--output={output}", *flags)


def test_the_command_zips_the_labels_as_they_are_and_nothing_else(folders, tmp_path):
    done = run(*folders, tmp_path / "out.zip", "--first=210", "--last=212")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "out.zip") as packed:
        assert packed.namelist() == [f"prediction_{number:05d}.nii.gz" for number in IDS]
        assert packed.testzip() is None
        assert packed.read("prediction_00211.nii.gz") == (folders[0] / "prediction_00211.nii.gz").read_bytes()


def test_by_default_all_ninety_cases_of_the_test_set_are_wanted(folders, tmp_path):
    done = run(*folders, tmp_path / "out.zip")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith(
        "has no prediction_00213.nii.gz, prediction_00214.nii.gz, prediction_00215.nii.gz and 84 more; "
        "predict these cases first")
    assert not (tmp_path / "out.zip").exists()


def test_a_number_with_more_than_five_digits_is_refused_at_once(folders, tmp_path):
    done = run(*folders, tmp_path / "out.zip", "--last=100000")
    assert done.returncode == 1 and "--last=100000" in done.stderr


def test_the_same_predictions_give_the_same_zip(folders, tmp_path):
    for name in ("one.zip", "two.zip"):
        assert pack(*folders, tmp_path / name, IDS) == 3
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def stray(predictions, study):
    (predictions / "prediction_00300.nii.gz").write_bytes((predictions / "prediction_00210.nii.gz").read_bytes())


def other_label(predictions, study):
    write_labels(predictions / "prediction_00211.nii.gz", np.full(SHAPE, 3, np.uint8),
                 like=study / "case_00211" / "imaging.nii.gz")


def other_shape(predictions, study):
    write_volume(predictions / "prediction_00211.nii.gz", Volume.from_spacing(np.zeros((4, 6, 5), np.uint8), (3, 1, 1)))


def other_place(predictions, study):
    path = predictions / "prediction_00211.nii.gz"
    image = nib.load(path)
    affine = image.affine.copy()
    affine[0, 3] += 5
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)


def other_axes(predictions, study):
    """Stores a prediction at the same world position but with another axis order; compared by voxel, it differs."""
    path = predictions / "prediction_00211.nii.gz"
    nib.save(nib.as_closest_canonical(nib.load(path)), path)


def no_scan(predictions, study):
    (study / "case_00211" / "imaging.nii.gz").unlink()


def damaged(predictions, study):
    path = predictions / "prediction_00211.nii.gz"
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(("spoil", "said"), [
    (stray, "also contains prediction_00300.nii.gz"), (other_label, "label 3"), (other_shape, "shape"),
    (other_place, "has another affine"), (other_axes, "has shape"), (no_scan, "case_00211"),
    (damaged, "prediction_00211")],
    ids=lambda value: getattr(value, "__name__", None))
def test_what_is_wrong_is_named_and_no_zip_is_written(folders, tmp_path, spoil, said):
    spoil(*folders)
    with pytest.raises(InputError, match=said) as error:
        pack(*folders, tmp_path / "out.zip", IDS)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*.zip"))


def test_an_output_that_is_no_zip_is_refused(folders, tmp_path):
    with pytest.raises(InputError, match=r"out\.tar"):
        pack(*folders, tmp_path / "out.tar", IDS)


def test_a_zip_that_is_not_ours_is_kept_and_our_own_is_replaced(folders, tmp_path):
    (tmp_path / "theirs.zip").write_text("the user's")
    with pytest.raises(InputError, match=r"theirs\.zip: was not written by this program"):
        pack(*folders, tmp_path / "theirs.zip", IDS)
    assert (tmp_path / "theirs.zip").read_text() == "the user's"
    assert pack(*folders, tmp_path / "theirs.zip", IDS, overwrite=True) == pack(*folders, tmp_path / "theirs.zip", IDS)
