"""Tests that data sets in other layouts give the records of the same cases in KiTS19's, and that label maps count."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import SimpleITK
from harness.dicom_series import slices_of, write_series
from harness.prepared import CONFIG, SPACING_MM, noisy_scan, read_records, two_kidneys

from data_prep.check import check_data
from data_prep.preparation import prepare_study
from kits_tf.errors import InputError
from kits_tf.records import dataset
from kits_tf.scans.label_map import parse
from kits_tf.scans.layouts import DataSet
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

STAGE = "coarse"
CASES = {"case_00000": 0, "case_00001": 1}


def with_cyst():
    labels = two_kidneys()
    labels[5:8, 11:19, 6:15] = 3
    return labels


def write(path, voxels):
    write_volume(path, Volume.from_spacing(voxels, SPACING_MM))


def series_of(seed):
    """Returns the slices of a scan, from feet to head, at the place of the NIfTI files."""
    hu = noisy_scan(seed=seed)[::-1]
    return slices_of(hu, SPACING_MM, origin_mm=(0, 0, -SPACING_MM[0] * (len(hu) - 1)))


def kits19(folder):
    for case, seed in CASES.items():
        write(folder / case / "imaging.nii.gz", noisy_scan(seed=seed))
        write(folder / case / "segmentation.nii.gz", np.where(with_cyst() == 3, 1, with_cyst()).astype(np.uint8))
    return folder


def kits23(folder):
    for case, seed in CASES.items():
        write(folder / case / "imaging.nii.gz", noisy_scan(seed=seed))
        write(folder / case / "segmentation.nii.gz", with_cyst())
        (folder / case / "instances").mkdir()
    return folder


def nnunet(folder):
    turned = np.array([0, 2, 1, 3], np.uint8)  # kidney and tumor have each other's value
    for case, seed in CASES.items():
        write(folder / "imagesTr" / f"{case}_0000.nii.gz", noisy_scan(seed=seed))
        write(folder / "labelsTr" / f"{case}.nii.gz", turned[with_cyst()])
    labels = {"background": 0, "kidney": [1, 2, 3], "masses": [1, 3], "tumor": 1}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
    return folder


def pairs(folder):
    """NRRD, whose labels are floats with a rounding error, as other tools write them."""
    folder.mkdir()
    for case, seed in CASES.items():
        for name, voxels in ((case, noisy_scan(seed=seed)),
                             (f"{case}_seg", np.minimum(with_cyst() % 3 + (with_cyst() == 3), 2) * 1.0000001)):
            image = SimpleITK.GetImageFromArray(voxels)
            image.SetSpacing(SPACING_MM[::-1])
            image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
            SimpleITK.WriteImage(image, str(folder / f"{name}.nrrd"))
    return folder


def table(folder):
    """DICOM series, whose labels are NIfTI."""
    lines = ["case,image,label"]
    for case, seed in CASES.items():
        write_series(folder / case / "SE1", series_of(seed))
        write(folder / "labels" / f"{case}.nii.gz", with_cyst())
        lines.append(f"{case},{case},labels/{case}.nii.gz")
    (folder / "cases.csv").write_text("\n".join(lines))
    return folder / "cases.csv"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    assert prepare_study(kits19(folder / "study"), folder / "data", [STAGE], CONFIG) == 0
    return folder


def manifest_of(data):
    return json.loads(dataset.manifest_path(data, STAGE).read_text())["cases"]


@pytest.mark.parametrize(("make", "labels", "text"), [
    (kits23, None, "kidney:1,tumor:2,cyst:3"), (nnunet, None, "tumor:1,kidney:2,cyst:3"), (pairs, None, None),
    (table, "kidney:1,tumor:2,cyst:3", "kidney:1,tumor:2,cyst:3")], ids=lambda value: getattr(value, "__name__", ""))
def test_every_layout_gives_the_records_of_kits19s(make, labels, text, plain, tmp_path, capsys):
    study = make(tmp_path / "study")
    labels = labels and parse(labels)
    assert prepare_study(DataSet(study, labels=labels), tmp_path / "data", [STAGE], CONFIG) == 0
    assert f"{study}: taken as " in capsys.readouterr().err
    for case in CASES:
        mine, other = (read_records(data, STAGE, case) for data in (tmp_path / "data", plain / "data"))
        for field in ("image", "labels"):
            np.testing.assert_array_equal([record[field] for record in mine], [record[field] for record in other])
    assert {entry["sources"].get("labels") for entry in manifest_of(tmp_path / "data").values()} == {text}
    assert check_data(tmp_path / "data", STAGE, CONFIG, DataSet(study, labels=labels)) == 0
    assert prepare_study(DataSet(study, labels=labels), tmp_path / "data", [STAGE], CONFIG) == 0
    assert "0 done, 2 unchanged, 0 failed" in capsys.readouterr().err


def test_another_label_map_makes_every_case_stale_and_is_never_mixed(tmp_path, capsys):
    study, data = kits23(tmp_path / "study"), tmp_path / "data"
    assert prepare_study(study, data, [STAGE], CONFIG) == 0
    other = parse("kidney:1,tumor:2,tumor:3")
    assert check_data(data, STAGE, CONFIG, DataSet(study, labels=other)) == 2
    assert capsys.readouterr().err.count("is stale, labels changed") == 2
    before = read_records(data, STAGE, "case_00000")
    shutil.copytree(data, tmp_path / "mixed")
    assert prepare_study(DataSet(study, labels=other), data, [STAGE], CONFIG) == 0
    assert "0 done, 2 redone, 0 unchanged" in capsys.readouterr().err
    after = read_records(data, STAGE, "case_00000")
    assert sum((record["labels"] == 2).sum() for record in after) > sum(
        (record["labels"] == 2).sum() for record in before)
    manifest = dataset.manifest_path(tmp_path / "mixed", STAGE)
    known = json.loads(manifest.read_text())
    known["cases"]["case_00000"] = manifest_of(data)["case_00000"]  # as after a killed run
    manifest.write_text(json.dumps(known))
    with pytest.raises(InputError, match=r"different meanings .*kidney:1,tumor:2,cyst:3 and kidney:1,tumor:2,tumor:3"):
        dataset.split(tmp_path / "mixed", STAGE, 0, CONFIG)


def test_a_case_folder_with_slices_is_prepared(plain, tmp_path):
    study = tmp_path / "study"
    for case, seed in CASES.items():
        write_series(study / case / "DICOM", series_of(seed))
        shutil.copy(plain / "study" / case / "segmentation.nii.gz", study / case)
    assert prepare_study(study, tmp_path / "data", [STAGE], CONFIG) == 0
    for case in CASES:
        mine, other = (read_records(data, STAGE, case) for data in (tmp_path / "data", plain / "data"))
        np.testing.assert_array_equal([record["image"] for record in mine], [record["image"] for record in other])


def test_kits23_without_its_instances_says_what_label_3_may_be(tmp_path, capsys):
    study = kits23(tmp_path / "study")
    for folder in study.glob("*/instances"):
        folder.rmdir()
    assert prepare_study(study, tmp_path / "data", [STAGE], CONFIG) == 1
    assert capsys.readouterr().err.count("holds label 3, expected only 0, 1, 2; if it is a cyst, as in KiTS21") == 2
    assert prepare_study(DataSet(study, "kits23"), tmp_path / "data", [STAGE], CONFIG) == 0


def test_scans_without_labels_are_refused_with_the_layouts_that_have_them(tmp_path):
    write(tmp_path / "scans" / "a.nii.gz", noisy_scan())
    with pytest.raises(InputError, match="contains no case with labels; expected case_xxxxx"):
        prepare_study(pathlib.Path(tmp_path / "scans"), tmp_path / "data", [STAGE], CONFIG)
