"""Tests that every layout is recognized and printed, or refused where it is unclear; most files may be empty."""

import json
import re

import numpy as np
import pytest
from harness.bad_scans import touch
from harness.dicom_series import slices_of, write_series

from kits_tf.errors import InputError
from kits_tf.scans import label_map, layouts
from kits_tf.scans.layouts import DataSet, find_cases, find_truths

PLAIN = {"background": 0, "kidney": 1, "tumor": 2}


def dataset(folder, **fields):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(fields))
    return folder


def listed(found):
    """Returns (name, scan, labels) of each case, paths relative to the data set."""
    return [(case.name, case.imaging.name, case.segmentation and "/".join(case.segmentation.parts[-2:]))
            for case in found.cases]


def series(folder, number=1):
    return write_series(folder, slices_of(np.zeros((4, 5, 6), np.int16), (5, 1, 1), series=str(number)))


def test_kits19_is_recognized_and_printed(tmp_path):
    touch(tmp_path, "case_00000/imaging.nii.gz", "case_00000/segmentation.nii.gz", "case_00001/imaging.nii.gz")
    found = find_cases(tmp_path)
    assert found.layout == "kits19" and len(found.cases) == 2
    assert found.summary == (f"{tmp_path}: taken as a study in KiTS19's layout: 2 cases, 1 with labels "
                          f"(kidney:1,tumor:2)")


def test_kits21_takes_the_majority_vote_and_its_cysts(tmp_path):
    touch(tmp_path, *(f"case_0000{n}/{name}.nii.gz" for n in range(2) for name in (
        "imaging", "aggregated_MAJ_seg", "aggregated_OR_seg", "aggregated_AND_seg",
        "segmentations/kidney_instance-1_annotation-1")))
    found = find_cases(tmp_path)
    assert (found.layout, listed(found)[1]) == (
        "kits21", ("case_00001", "imaging.nii.gz", "case_00001/aggregated_MAJ_seg.nii.gz"))
    assert found.summary.endswith("2 with labels (kidney:1,tumor:2,cyst:3; cysts become kidney)")


@pytest.mark.parametrize("root", ["dataset", "."])
def test_kits23_as_it_is_downloaded_is_recognized_from_its_repository_too(root, tmp_path):
    touch(tmp_path, "README.md", *(f"dataset/case_0000{n}/{name}.nii.gz" for n in range(2) for name in (
        "imaging", "segmentation", "instances/cyst_instance-1_annotation-1")))
    found = find_cases(tmp_path / root)
    assert (found.layout, str(found.cases[0].labels)) == ("kits23", "kidney:1,tumor:2,cyst:3")
    assert found.summary.startswith(f"{tmp_path}/dataset: taken as KiTS23: 2 cases")


def test_what_the_user_says_of_labels_and_layout_comes_first(tmp_path):
    touch(tmp_path, "case_00000/imaging.nii.gz", "case_00000/segmentation.nii.gz", "case_00000/instances/x.nii.gz")
    told = label_map.parse("kidney:1,tumor:2,tumor:3")
    assert find_cases(DataSet(tmp_path, labels=told)).cases[0].labels == told
    assert find_cases(DataSet(tmp_path, "kits19")).cases[0].labels == label_map.KITS19


@pytest.mark.parametrize(("labels", "text"), [
    (PLAIN, "kidney:1,tumor:2"), ({"0": "background", "1": "kidney", "2": "tumor"}, "kidney:1,tumor:2"),
    ({"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}, "kidney:1,tumor:2,cyst:3")])
def test_nnunet_of_either_version_with_plain_and_region_labels(labels, text, tmp_path):
    touch(dataset(tmp_path, labels=labels, channel_names={"0": "CT"}, file_ending=".nii.gz",
                  training=[{"image": "./imagesTr/case_00001.nii.gz", "label": "./labelsTr/case_00001.nii.gz"}]),
          "imagesTr/case_00001_0000.nii.gz", "imagesTr/b_0000.nii.gz", "imagesTr/._b_0000.nii.gz",
          "labelsTr/case_00001.nii.gz", "labelsTr/b.nii.gz", "imagesTs/c_0000.nii.gz")
    train = find_cases(tmp_path, labeled=True)
    assert (train.layout, listed(train)) == ("nnunet", [
        ("b", "b_0000.nii.gz", "labelsTr/b.nii.gz"),
        ("case_00001", "case_00001_0000.nii.gz", "labelsTr/case_00001.nii.gz")])
    assert {str(case.labels) for case in train.cases} == {text}
    assert [case.name for case in find_cases(tmp_path).cases] == ["b", "c", "case_00001"]


@pytest.mark.parametrize(("images", "labels", "first"), [
    ("imagesTr", "labelsTr", "a_0000"), ("imagesTr", "labelsTr", "a"), ("images", "labels", "a")])
def test_labels_without_a_scan_are_named(images, labels, first, tmp_path, capsys):
    touch(tmp_path, f"{images}/{first}.nii.gz", f"{labels}/a.nii.gz", f"{labels}/b.nii.gz")
    assert [case.name for case in find_cases(tmp_path, labeled=True).cases] == ["a"]
    assert capsys.readouterr().err == f"warning: {tmp_path / labels}: there is no scan for b.nii.gz, left out\n"


def test_nnunets_folder_of_images_alone_is_named_without_the_channel(tmp_path):
    touch(dataset(tmp_path, labels=PLAIN), "imagesTs/c_0000.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz",
          "elsewhere/d_0000.mha")
    assert listed(find_cases(tmp_path / "imagesTs")) == [("c", "c_0000.nii.gz", None)]
    assert listed(find_cases(tmp_path / "imagesTr")) == [("b", "b_0000.nii.gz", "labelsTr/b.nii.gz")]
    assert listed(find_cases(tmp_path / "elsewhere")) == [("d", "d_0000.mha", None)]


def test_nnunet_with_a_list_of_files_elsewhere(tmp_path):
    dataset(tmp_path / "D", labels=PLAIN, dataset={"p1": {"images": ["../ct/p1.nii.gz"], "label": "../seg/p1.nii.gz"}})
    touch(tmp_path, "ct/p1.nii.gz", "seg/p1.nii.gz")
    assert listed(find_cases(tmp_path / "D", labeled=True)) == [("p1", "p1.nii.gz", "seg/p1.nii.gz")]


def test_the_decathlon_goes_by_its_list_and_leaves_the_files_of_a_mac(tmp_path, capsys):
    touch(dataset(tmp_path, labels={"0": "background", "1": "kidney"}, modality={"0": "CT"},
                  training=[{"image": f"./imagesTr/k_{n}.nii.gz", "label": f"./labelsTr/k_{n}.nii.gz"} for n in "12"],
                  test=["./imagesTs/k_3.nii.gz"]),
          *(f"imagesTr/{mac}k_{n}.nii.gz" for n in "12" for mac in ("", "._")), "imagesTs/k_3.nii.gz",
          *(f"labelsTr/{mac}k_{n}.nii.gz" for n in "12" for mac in ("", "._")), "imagesTr/other.nii.gz")
    train = find_cases(tmp_path, labeled=True)
    assert (train.layout, listed(train)) == ("decathlon", [
        ("k_1", "k_1.nii.gz", "labelsTr/k_1.nii.gz"), ("k_2", "k_2.nii.gz", "labelsTr/k_2.nii.gz")])
    assert capsys.readouterr().err == (f"warning: {tmp_path}/dataset.json: does not list other.nii.gz of imagesTr; "
                                       f"left out\n")
    assert [case.name for case in find_cases(tmp_path).cases] == ["k_1", "k_2", "k_3"]


def test_the_decathlons_own_names_are_kept_whatever_they_end_in(tmp_path):
    names = [f"p_000{number}" for number in range(2)]
    touch(dataset(tmp_path, labels=PLAIN, training=[
        {"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz"} for name in names]),
          *(f"{folder}Tr/{name}.nii.gz" for folder in ("images", "labels") for name in names))
    assert [case.name for case in find_cases(tmp_path, labeled=True).cases] == names


def test_numbers_of_four_digits_are_no_channels_if_the_labels_have_them_too(tmp_path):
    touch(tmp_path, *(f"{folder}Tr/p_000{number}.nii.gz" for folder in ("images", "labels") for number in (1, 2)))
    assert [case.name for case in find_cases(tmp_path).cases] == ["p_0001", "p_0002"]


@pytest.mark.parametrize(("names", "cases"), [
    (["scan.nii.gz", "scan_seg.nii.gz"], [("scan", "scan.nii.gz", "scan_seg.nii.gz")]),
    (["a.nii", "a-label.nii.gz", "b.nii"], [("a", "a.nii", "a-label.nii.gz"), ("b", "b.nii", None)]),
    (["p1_ct.nii.gz", "p1_mask.nii.gz"], [("p1", "p1_ct.nii.gz", "p1_mask.nii.gz")]),
    (["P1.nrrd", "P1.seg.nrrd"], [("P1", "P1.nrrd", "P1.seg.nrrd")]),
    (["volume-0.nii", "segmentation-0.nii"], [("0", "volume-0.nii", "segmentation-0.nii")]),
    (["a.nii.gz", "a_ct.nii.gz", "a_ct_seg.nii.gz"],
     [("a", "a.nii.gz", None), ("a_ct", "a_ct.nii.gz", "a_ct_seg.nii.gz")])])
def test_scans_and_labels_in_one_folder_are_paired_by_their_names(names, cases, tmp_path):
    touch(tmp_path, *names, ".hidden_seg.nii.gz", "prediction_a.nii.gz")
    found = find_cases(tmp_path)
    assert (found.layout, [(case.name, case.imaging.name, case.segmentation and case.segmentation.name)
                           for case in found.cases]) == ("pairs", cases)


def test_images_and_labels_in_two_folders_are_pairs(tmp_path):
    touch(tmp_path, "images/a.nii.gz", "images/b.nii.gz", "labels/a.nii.gz")
    assert listed(find_cases(tmp_path)) == [("a", "a.nii.gz", "labels/a.nii.gz"), ("b", "b.nii.gz", None)]


@pytest.mark.parametrize("head", ["case,image,label", "label;Image;CASE"])
def test_a_table_names_files_beside_it_and_series(head, tmp_path):
    touch(tmp_path, "ct/one.nii.gz", "seg/one.nii.gz")
    series(tmp_path / "dicom" / "PA0" / "SE1")
    fields = {"case": "first", "image": "ct/one.nii.gz", "label": "seg/one.nii.gz"}, {
        "case": "second", "image": "dicom", "label": ""}
    columns = head.replace(";", ",").lower().split(",")
    mark = ";" if ";" in head else ","
    lines = [head, *(mark.join(row[column] for column in columns) for row in fields), ""]
    (tmp_path / "cases.csv").write_text("\ufeff" + "\r\n".join(lines))
    found = find_cases(tmp_path / "cases.csv")
    assert listed(found) == [("first", "one.nii.gz", "seg/one.nii.gz"), ("second", "SE1", None)]
    assert len(found.cases[1].files) == 4 and "a table of cases: 2 cases, 1 with labels" in found.summary


@pytest.mark.parametrize(("text", "said"), [
    ("", "has no column case and no column image"), ("case,label\n", "has no column image"),
    ("case,image\na,\n", "line 2 has no image"), ("case,image\n,x.nii\n", "line 2 has no case"),
    ("case,image\na/b,x.nii\n", "expected a plain file name"), ("case,image\n", "contains no case of a table"),
    ("case,image\na,x.nii\na,y.nii\n", "are both named a"), ("case,image\ncase_7,x.nii\n7,y.nii\n", "both named 7"),
    (b"\xff\xfe\0", "cannot be read as a table")])
def test_a_table_with_a_fault_is_one_line(text, said, tmp_path):
    (tmp_path / "cases.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        find_cases(tmp_path / "cases.csv")
    assert str(caught.value).startswith(f"{tmp_path}/cases.csv: ") and str(caught.value).isprintable()


def test_a_case_folder_may_hold_a_series_instead_of_imaging(tmp_path):
    touch(tmp_path, "case_00000/segmentation.nii.gz", "case_00001/segmentation.nii.gz", "case_00002/segmentation.nii")
    series(tmp_path / "case_00000")
    series(tmp_path / "case_00001" / "dicom")
    for number in range(2):
        series(tmp_path / "case_00002" / str(number), number)
    direct, below, several = find_cases(tmp_path, labeled=True).cases
    assert (direct.imaging.name, below.imaging.name, len(below.files)) == ("case_00000", "dicom", 4)
    with pytest.raises(InputError, match=r"has no imaging\.nii\.gz but 2 DICOM series"):
        several.check_single()
    assert [case.name for case in find_cases(tmp_path).cases] == ["case_00000", "case_00001", "case_00002"]


def test_series_per_patient_are_scans_named_by_their_folders(tmp_path):
    for patient in ("anna", "bert"):
        series(tmp_path / patient / "ST0" / "SE1")
    found = find_cases(tmp_path)
    assert (found.layout, [case.name for case in found.cases]) == ("scans", ["anna_ST0_SE1", "bert_ST0_SE1"])
    assert found.summary == f"{tmp_path}: taken as scans without labels: 2 cases"


UNCLEAR = {
    "two labels": (["a.nii", "a_seg.nii", "a_label.nii"], "a_label.nii and a_seg.nii would both belong to case a"),
    "two scans": (["a_ct.nii", "a_image.nii", "a_seg.nii"], "a_ct.nii and a_image.nii would both belong to case a"),
    "two endings": (["imagesTr/a.nii", "imagesTr/a.nii.gz"], "contains both a.nii and a.nii.gz; remove one"),
    "two truths": (["case_0/imaging.nii", "case_0/segmentation.nii", "case_0/aggregated_MAJ_seg.nii"],
                   "looks like a study in KiTS19's layout and like KiTS21; say which it is: --layout=kits19 or "
                   "--layout=kits21"),
    "two layouts": (["case_0/imaging.nii", "imagesTr/a_0000.nii", "labelsTr/a.nii"],
                    "--layout=kits19 or --layout=nnunet"),
    "channels": (["imagesTr/a_0000.nii", "imagesTr/a_0001.nii", "labelsTr/a.nii"],
                 "has several images per case, as of a"),
    "a channel is missing": (["imagesTr/a_0000.nii", "imagesTr/b.nii", "labelsTr/a.nii"],
                             "b.nii: is not named CASE_0000"),
    "several data sets": (["Dataset001_A/imagesTr/a_0000.nii", "Dataset002_B/imagesTr/a_0000.nii"],
                          "holds 2 data sets of nnU-Net or the Decathlon, Dataset001_A, Dataset002_B; give the folder"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_is_unclear_is_refused_with_what_was_found(name, tmp_path):
    files, said = UNCLEAR[name]
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        find_cases(touch(tmp_path, *files))
    assert str(caught.value).startswith(f"{tmp_path}")


def test_pairs_beside_series_are_refused_until_the_user_says_which(tmp_path):
    series(touch(tmp_path, "a.nii", "a_seg.nii") / "SE1")
    with pytest.raises(InputError, match="--layout=pairs or --layout=scans"):
        find_cases(tmp_path)
    assert [case.name for case in find_cases(DataSet(tmp_path, "pairs")).cases] == ["a"]
    assert [case.name for case in find_cases(DataSet(tmp_path, "scans")).cases] == ["SE1", "a", "a_seg"]


@pytest.mark.parametrize("layout", [name for name in layouts.TITLES if name != "csv"])
def test_a_layout_that_the_folder_does_not_have_is_reported(layout, tmp_path):
    with pytest.raises(InputError, match=r"contains no (case of|scan)"):
        find_cases(DataSet(tmp_path, layout))


def test_labels_that_name_no_kidney_stop_training_and_not_prediction(tmp_path, capsys):
    touch(dataset(tmp_path, labels={"background": 0, "liver": 1}), "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    with pytest.raises(InputError, match="names no kidney among its labels"):
        find_cases(tmp_path, labeled=True)
    assert find_cases(tmp_path).cases[0].segmentation is None
    assert "names no kidney" in capsys.readouterr().err
    told = label_map.parse("kidney:1")
    assert find_cases(DataSet(tmp_path, labels=told), labeled=True).cases[0].labels == told


def test_ground_truth_may_be_a_folder_of_labels_alone(tmp_path):
    touch(dataset(tmp_path, labels={"background": 0, "tumor": 1, "kidney": 2}), "labelsTr/a.nii.gz",
          "labelsTr/._a.nii.gz", "imagesTr/a_0000.nii.gz", "flat/b.nii.gz", "flat/c.mha")
    found = find_truths(tmp_path / "labelsTr")
    assert [(case.name, str(case.labels)) for case in found.cases] == [("a", "tumor:1,kidney:2")]
    assert [(case.name, case.segmentation.name) for case in find_truths(tmp_path / "flat").cases] == [
        ("b", "b.nii.gz"), ("c", "c.mha")]
    assert listed(find_truths(tmp_path)) == [("a", "a_0000.nii.gz", "labelsTr/a.nii.gz")]
