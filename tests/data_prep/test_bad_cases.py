"""Tests data_prep's messages for unusable cases, odd but usable cases, and studies of one case."""

import contextlib
import os

import nibabel as nib
import numpy as np
import pytest
from harness.bad_scans import REFUSED
from harness.dask_processes import Processes
from harness.prepared import CONFIG, noisy_scan, rewrite, two_kidneys, write_case

from data_prep.cases import read_case
from data_prep.preparation import prepare_study
from kits_tf import cluster
from kits_tf.cluster import Place
from kits_tf.errors import InputError
from kits_tf.records import dataset
from kits_tf.scans.discovery import ENDINGS, find_scans, find_study
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

SCAN, LABELS = "imaging.nii.gz", "segmentation.nii.gz"


def labelled(value, dtype=np.int16):
    def spoil(case):
        labels = two_kidneys().astype(dtype)
        labels[6, 15, 10] = value
        rewrite(case / LABELS, labels)
    return spoil


def moved(**elements):
    def spoil(case):
        affine = nib.load(case / LABELS).affine.copy()
        for place, value in elements.items():
            row, column = map(int, place[1:].split("_"))
            affine[row, column] += value
        rewrite(case / LABELS, affine=affine)
    return spoil


def huge(case):
    """Stores scan and labels with voxels of up to 99 mm: one such voxel is possible, the whole volume is not."""
    for name in (SCAN, LABELS):
        voxels = np.repeat(np.asarray(nib.load(case / name).dataobj), 2, axis=0)
        write_volume(case / name, Volume.from_spacing(voxels, (99.0, 82.0, 69.0)))


def bad_file(which, kind):
    def spoil(case):
        (case / which).unlink()
        REFUSED[kind][0](case / which)
    return spoil


# Kind of case: how to spoil a good case, and the message after the file's path.
BAD = {
    "no segmentation": (lambda case: (case / LABELS).unlink(), ": has no segmentation.nii.gz"),
    "no imaging": (lambda case: (case / SCAN).unlink(), f"{SCAN}: no such file"),
    "label 3": (labelled(3), f"{LABELS}: holds label 3, expected only 0, 1, 2"),
    "label -1": (labelled(-1), f"{LABELS}: holds label -1, expected only 0, 1, 2"),
    "label 0.5": (labelled(0.5, np.float32), f"{LABELS}: holds label 0.5, expected only 0, 1, 2"),
    "label 256": (labelled(256), f"{LABELS}: holds label 256"),
    "label NaN": (labelled(np.nan, np.float32), f"{LABELS}: at least 1 voxels are NaN"),
    "empty label": (lambda case: rewrite(case / LABELS, 0 * two_kidneys()), f"{LABELS}: contains no kidney"),
    "labels one slice short": (lambda case: rewrite(case / LABELS, two_kidneys()[:-1]),
                               f"{LABELS}: has shape (12, 36, 43) (z, y, x), expected that of its scan, (13, 36, 43)"),
    "labels of other axes": (lambda case: rewrite(case / LABELS, two_kidneys().transpose(0, 2, 1)),
                             f"{LABELS}: has shape (13, 43, 36)"),
    "labels 1 mm aside": (moved(a0_3=1.0), f"{LABELS}: is up to 1.00 mm away from its scan"),
    "labels of other spacing": (moved(a2_0=-0.1), f"{LABELS}: is up to 1.25 mm away from its scan"),
    "labels mirrored": (moved(a0_2=2 * 2.6), f"{LABELS}: is up to 109.20 mm away from its scan"),  # 42 voxels
    "scan in two frames": (bad_file(SCAN, "frames.nii.gz"), f"{SCAN}: has shape (3, 4, 5, 2)"),
    "scan cut": (bad_file(SCAN, "cut.nii.gz"), f"{SCAN}: its voxels cannot be read"),
    "labels cut": (bad_file(LABELS, "cut.nii.gz"), f"{LABELS}: its voxels cannot be read"),
    "scan of 3 m": (huge, f"{SCAN}: the scan measures 2574 x 2952 x 2967 mm (z, y, x)"),
    "scan is a folder": (bad_file(SCAN, "folder.nii.gz"), f"{SCAN}: is a folder"),
    "scan is a link to itself": (bad_file(SCAN, "loop.nii.gz"), f"{SCAN}: is a dangling symbolic link"),
    "labels are a broken link": (bad_file(LABELS, "dangling.nii.gz"), f"{LABELS}: is a dangling symbolic link"),
    "labels are a pipe": (bad_file(LABELS, "pipe.nii.gz"), f"{LABELS}: is no regular file"),
    "scan is a gzip bomb": (bad_file(SCAN, "bomb_behind.nii.gz"), f"{SCAN}: has more than the"),
    "scan empty": (bad_file(SCAN, "empty.nii.gz"), f"{SCAN}: cannot be read as NIfTI"),
    "scan 2D": (bad_file(SCAN, "2d.nii.gz"), f"{SCAN}: has shape (4, 5)"),
    "scan complex": (bad_file(SCAN, "complex.nii.gz"), f"{SCAN}: holds complex64 voxels"),
}
NAMES = ("case_00000", "Müller, 腎臓 1", "..dots", "-rf")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad") / "study"
    for name in (*NAMES, *BAD):
        write_case(folder, name, two_kidneys())
    for name, (spoil, _) in BAD.items():
        spoil(folder / name)
    (folder / "link to nowhere").symlink_to("gone")
    return folder


@pytest.mark.parametrize("name", BAD)
def test_a_bad_case_is_one_line_that_names_its_file(name, study):
    case = next(case for case in find_study(study) if case.name == name)
    with pytest.raises(InputError) as caught:
        read_case(case, CONFIG.spacing_mm)
    assert str(caught.value).startswith(f"{study / name}")
    assert BAD[name][1] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_bad_cases_do_not_stop_the_good_ones_whatever_they_are_called(study, tmp_path, capsys):
    assert prepare_study(study, tmp_path / "data", ("coarse",), CONFIG, 0) == 1
    failures = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert len(failures) == len(BAD) + 1
    assert sum("link to nowhere" in line for line in failures) == 1
    shards = {path.name for path in (tmp_path / "data").rglob("*.tfrecord")}
    assert shards == {f"{name}.tfrecord" for name in NAMES}
    known = dataset.read_manifest(tmp_path / "data", "coarse")["cases"]
    assert {name for name, entry in known.items() if "failure" in entry} == {*BAD, "link to nowhere"}
    assert {path.name for path in tmp_path.iterdir()} == {"data"}  # nothing is written elsewhere


def test_a_case_without_tumor_is_prepared(tmp_path):
    write_case(tmp_path / "study", "case_00000", np.minimum(two_kidneys(), 1))
    assert prepare_study(tmp_path / "study", tmp_path / "data", ("fine", "tumor3d", "tumor2d"), CONFIG, 0) == 0
    for stage in ("fine", "tumor3d", "tumor2d"):
        assert dataset.read_manifest(tmp_path / "data", stage)["cases"]["case_00000"]["records"] > 0


def test_a_study_of_one_case_is_prepared_and_training_on_it_refused_in_one_line(tmp_path):
    write_case(tmp_path / "study", "case_00000", two_kidneys())
    assert prepare_study(tmp_path / "study", tmp_path / "data", ("coarse",), CONFIG, 0) == 0
    messages = []
    for fold in range(5):
        with pytest.raises(InputError, match="expected at least one of each") as caught:
            dataset.split(tmp_path / "data", "coarse", fold, CONFIG)
        messages.append(str(caught.value))
    assert sum("0 training cases and 1 validation cases" in message for message in messages) == 1
    assert sum("1 training cases and 0 validation cases" in message for message in messages) == 4


@pytest.mark.parametrize("joined", [False, True], ids=["here", "on a cluster"])
def test_what_is_odd_about_a_case_is_a_line_each_that_names_its_file(joined, tmp_path, capsys):
    labels = two_kidneys()
    labels[:, 0, 20] = 1
    study = tmp_path / "study"
    write_case(study, "case_00000", labels)
    write_volume(study / "case_00000" / SCAN, Volume.from_spacing(
        (noisy_scan() + 1024).clip(0).astype(np.uint16), (5.0, 2.9, 2.6)))
    with contextlib.ExitStack() as stack:
        place = Place(scheduler=stack.enter_context(Processes(1)).address) if joined else cluster.HERE
        assert prepare_study(study, tmp_path / "data", ("coarse",), CONFIG, 0, place) == 0
    lines = capsys.readouterr().err.splitlines()
    scan, truth = (f"warning: {study / 'case_00000' / name}: " for name in (SCAN, LABELS))
    assert f"{scan}It covers only 65 mm from head to feet: organs may be cut off." in lines
    assert sum(line.startswith(f"{scan}No value is below 0") for line in lines) == 1
    assert [line for line in lines if line.startswith(truth)] == [
        f"{truth}A kidney or tumor touches the scan's edge towards the {end}: it may be cut off."
        for end in ("head", "feet", "front")]


@pytest.mark.parametrize("name", ["a\nb", "tab\there", os.fsdecode(b"broken\xff"), "\x1b[31mred"])
def test_a_name_that_would_break_a_line_or_a_path_fails_alone_in_one_line(name, tmp_path, capsys):
    for each in (name, "case_00000"):
        write_case(tmp_path / "study", each, two_kidneys())
    assert prepare_study(tmp_path / "study", tmp_path / "data", ("coarse",), CONFIG, 0) == 1
    failure, = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert failure.isprintable() and "expected a plain file name" in failure
    assert [path.name for path in (tmp_path / "data").rglob("*.tfrecord")] == ["case_00000.tfrecord"]


def test_a_name_that_is_too_long_is_cut(tmp_path, capsys):
    write_case(tmp_path / "study", "x" * 240, two_kidneys())
    assert prepare_study(tmp_path / "study", tmp_path / "data", ("coarse",), CONFIG, 0) == 0
    assert "a name of more than 200 bytes was shortened" in capsys.readouterr().err
    assert len(list((tmp_path / "data").rglob("xxx*.tfrecord"))) == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_links_and_folders_with_an_image_ending_are_listed(ending, tmp_path):
    (tmp_path / f"a{ending}").symlink_to("gone")
    (tmp_path / f"b{ending}").mkdir()
    (tmp_path / f"c{ending}").symlink_to(f"c{ending}")
    assert [case.name for case in find_scans(tmp_path)] == ["a", "b", "c"]
    assert [case.name for case in find_scans(tmp_path / f"c{ending}")] == ["c"]
