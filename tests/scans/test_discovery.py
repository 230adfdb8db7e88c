"""Tests which cases a folder contains and their names; NIfTI files are not opened, so they may be empty."""

import errno
import os
import pathlib
import shutil

import numpy as np
import pytest
from harness.bad_scans import touch
from harness.dicom_series import ANONYMIZERS, slices_of, write_series
from pydicom import uid

from kits_tf.errors import InputError
from kits_tf.scans.dicom import read_series
from kits_tf.scans.discovery import LONGEST_NAME, find_scans, find_study, short_name, stem

HU = np.zeros((4, 5, 6), np.int16)


def test_a_study_is_its_case_folders_sorted_by_name(tmp_path):
    touch(tmp_path, "case_00010/imaging.nii.gz", "case_00010/segmentation.nii.gz", "case_00002/imaging.nii",
          "case_00002/notes.txt", "kits.json", "LICENSE", "empty/readme.txt", "loose.nii.gz")
    cases = find_study(tmp_path)
    assert [(case.name, case.short_name) for case in cases] == [("case_00002", "00002"), ("case_00010", "00010")]
    assert cases[0].imaging == tmp_path / "case_00002" / "imaging.nii"
    assert cases[0].segmentation is None
    assert cases[1].segmentation == tmp_path / "case_00010" / "segmentation.nii.gz"


def test_a_case_without_imaging_is_listed_with_the_path_that_was_expected(tmp_path):
    touch(tmp_path, "case_00001/segmentation.nii.gz")
    assert find_study(tmp_path)[0].imaging == tmp_path / "case_00001" / "imaging.nii.gz"


@pytest.mark.parametrize("name", ["imaging", "segmentation"])
def test_both_endings_at_once_are_listed_for_the_reader_to_refuse(name, tmp_path):
    touch(tmp_path, "case_00001/imaging.nii.gz", "case_00001/segmentation.nii", "case_00002/imaging.nii",
          f"case_00001/{name}.nii.gz", f"case_00001/{name}.nii")
    double, single = find_study(tmp_path)
    single.check_single()
    with pytest.raises(InputError) as caught:
        double.check_single()
    assert str(caught.value) == f"{tmp_path}/case_00001: contains both {name}.nii.gz and {name}.nii; remove one"


def test_both_endings_in_a_case_folder_given_alone_are_refused_too(tmp_path):
    case, = find_scans(touch(tmp_path, "imaging.nii", "imaging.nii.gz"))
    with pytest.raises(InputError, match="remove one"):
        case.check_single()


def test_an_empty_folder_is_a_study_of_none(tmp_path):
    assert find_study(tmp_path) == []


@pytest.mark.parametrize("what", ["nowhere", "file"])
def test_a_study_that_is_no_folder_is_named(what, tmp_path):
    touch(tmp_path, "file")
    with pytest.raises(InputError, match=what):
        find_study(tmp_path / what)


@pytest.mark.parametrize(("name", "short"), [
    ("case_00210", "00210"), ("case_7", "7"), ("case_00210_0000", "case_00210_0000"), ("case_", "case_"),
    ("patient", "patient"), ("showcase_1", "showcase_1")])
def test_short_names_are_kits_submission_names(name, short):
    assert short_name(name) == short


def test_one_file_is_one_scan_named_after_itself(tmp_path):
    touch(tmp_path, "liver.v2.nii.gz")
    case, = find_scans(tmp_path / "liver.v2.nii.gz")
    assert (case.name, case.short_name) == ("liver.v2", "liver.v2")


def test_imaging_of_one_case_is_named_after_its_folder(tmp_path):
    touch(tmp_path, "case_00007/imaging.nii.gz")
    case, = find_scans(tmp_path / "case_00007" / "imaging.nii.gz")
    assert case.short_name == "00007"


def test_a_folder_of_files_is_its_nifti_files(tmp_path):
    touch(tmp_path, "b.nii.gz", "a.NII", "notes.txt", ".hidden.nii.gz", "c.dcm")
    assert [case.name for case in find_scans(tmp_path)] == ["a", "b"]


def test_a_scan_in_two_files_is_one_case_of_a_folder(tmp_path):
    for name in ("a.hdr", "a.img", "b.hdr.gz", "b.img.gz", "c.nii"):
        (tmp_path / name).touch()
    assert [(case.name, case.imaging.name) for case in find_scans(tmp_path)] == [
        ("a", "a.hdr"), ("b", "b.hdr.gz"), ("c", "c.nii")]


def test_a_case_folder_given_alone_is_its_imaging(tmp_path):
    touch(tmp_path, "case_00007/imaging.nii.gz", "case_00007/segmentation.nii.gz")
    assert [(case.name, case.imaging.name) for case in find_scans(tmp_path / "case_00007")] == [
        ("case_00007", "imaging.nii.gz")]


@pytest.mark.parametrize(("loose", "told"), [
    (["loose.nii.gz"], "loose.nii.gz is"), (["a.nii", "b.nii.gz", "c.nii"], "a.nii and 2 more are")])
def test_a_study_hides_loose_files_beside_it_with_a_warning_of_one_line(loose, told, tmp_path, capsys):
    touch(tmp_path, "case_00001/imaging.nii.gz", "study.nii/imaging.nii.gz", "kits.json", ".hidden.nii", *loose)
    assert [case.name for case in find_scans(tmp_path)] == ["case_00001", "study.nii"]
    assert capsys.readouterr().err == (f"warning: {tmp_path}: is taken as a study, {told} left out; give loose files "
                                       f"a folder of their own\n")


def test_a_study_or_a_folder_of_files_alone_brings_no_warning(tmp_path, capsys):
    touch(tmp_path, "study/case_00001/imaging.nii.gz", "files/a.nii.gz")
    assert len(find_scans(tmp_path / "study") + find_scans(tmp_path / "files")) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("names", [("a.nii", "a.nii.gz"), ("case_00001.nii", "00001.nii")])
def test_two_scans_of_one_name_are_refused(names, tmp_path):
    touch(tmp_path, *names)
    with pytest.raises(InputError, match="rename one") as caught:
        find_scans(tmp_path)
    assert all(name in str(caught.value) for name in names)


def test_series_in_folders_and_zips_named_by_uids_keep_their_last_part(tmp_path):
    for name in ("1.2.840.1", "1.2.840.2"):
        touch(tmp_path, f"{name}/IM0000")
        (tmp_path / name / "IM0000").write_bytes(bytes(128) + b"DICM")
    touch(tmp_path, "1.2.840.3.zip")
    assert [case.name for case in find_scans(tmp_path)] == ["1.2.840.1", "1.2.840.2", "1.2.840.3"]


def series_in(folder, *names):
    for name in names:
        touch(folder, f"{name}/IM0000")
        (folder / name / "IM0000").write_bytes(bytes(128) + b"DICM")
    return folder


def test_files_and_series_side_by_side_are_all_scans(tmp_path, capsys):
    touch(series_in(tmp_path, "b"), "a.nii.gz", "c.zip")
    assert [case.name for case in find_scans(tmp_path)] == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("made", ["more.zip", "series", "patient/study/series", "deeper/scan.nii.gz"])
def test_a_study_says_which_scans_beside_its_cases_it_leaves_out(made, tmp_path, capsys):
    touch(tmp_path, "case_00001/imaging.nii.gz", "case_00001/other.nii.gz", *([made] if "." in made else []))
    series_in(tmp_path, *([made] if "." not in made else []))
    assert [case.name for case in find_scans(tmp_path)] == ["case_00001"]
    assert f"is taken as a study, {made} is left out" in capsys.readouterr().err


def export(folder, **series):
    """Writes a tree as a PACS or a CD exports it: {"PA0_ST0_SE1": slices} becomes PA0/ST0/SE1/IM0000 and so on."""
    folder.mkdir()
    for name, slices in series.items():
        write_series(folder.joinpath(*name.split("_")), slices)
    directory = slices_of(HU[:1], (5, 1, 1))[0]
    del directory.PixelData
    directory.SOPClassUID = directory.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)
    (folder / "VIEWER").mkdir()
    (folder / "VIEWER" / "run.exe").write_bytes(bytes(range(256)))
    return folder


def numbered(number, **fields):
    slices = slices_of(HU, (5, 1, 1), series=str(number))
    for dataset in slices:
        for field, value in fields.items():
            setattr(dataset, field, value)
    return slices


def test_every_ct_series_of_an_export_is_a_scan_and_the_others_are_listed(tmp_path, capsys):
    export(tmp_path / "cd", PA0_ST0_SE1=numbered(1), PA0_ST0_SE2=numbered(2), PA1_ST0_SE1=numbered(3),
           PA0_ST0_SE0=numbered(7, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
           PA1_ST0_SE9=numbered(9, SOPClassUID=uid.SecondaryCaptureImageStorage, Modality="OT"))
    cases = find_scans(tmp_path / "cd")
    assert [case.name for case in cases] == ["PA0_ST0_SE1", "PA0_ST0_SE2", "PA1_ST0_SE1"]
    assert all(len(case.files) == 4 and case.is_series for case in cases)
    assert [len(read_series(case.imaging, case.files)[1]) for case in cases] == [4, 4, 4]
    assert capsys.readouterr().err == (
        f"warning: {tmp_path}/cd: 2 series are localizers or no CT (CT 7 'phase 7' with 4 files in PA0/ST0/SE0, OT 9 "
        f"'phase 9' with 4 files in PA1/ST0/SE9), left out\n")


def test_an_export_without_ct_says_what_it_holds(tmp_path):
    export(tmp_path / "cd", **{f"ST{n}": numbered(n, SOPClassUID=uid.MRImageStorage, Modality="MR") for n in range(9)})
    with pytest.raises(InputError) as caught:
        find_scans(tmp_path / "cd")
    assert str(caught.value).startswith(
        f"{tmp_path}/cd: contains no scan; 9 series are localizers or no CT (MR 0 'phase 0' with 4 files in ST0, MR 1 "
        f"'phase 1' with 4 files in ST1, MR 2 'phase 2' with 4 files in ST2 and 6 more); expected .nii")
    export(tmp_path / "bare")
    with pytest.raises(InputError, match="its DICOM files are no images"):
        find_scans(tmp_path / "bare")


def test_series_in_one_folder_are_told_apart_by_their_number(tmp_path):
    for number in (2, 3):
        for place, dataset in enumerate(numbered(number)):
            (tmp_path / "DICOM").mkdir(exist_ok=True)
            dataset.save_as(tmp_path / "DICOM" / f"I{number}{place}", enforce_file_format=True)
    cases = find_scans(tmp_path / "DICOM")
    assert [case.name for case in cases] == ["DICOM_2", "DICOM_3"]
    assert [[file.name for file in case.files] for case in cases] == [[f"I{n}{k}" for k in range(4)] for n in (2, 3)]
    (tmp_path / "DICOM" / "I24").write_bytes(b"\1\2\3")  # may have been a slice of either
    for case in find_scans(tmp_path / "DICOM"):
        with pytest.raises(InputError, match="I24 does not say that it is DICOM"):
            read_series(case.imaging, case.files)


def test_files_with_a_series_each_are_told_apart_by_other_attributes(tmp_path):
    for number in (2, 3):
        slices = numbered(number)
        ANONYMIZERS["a series per file"](slices)
        for place, dataset in enumerate(slices):
            dataset.SeriesInstanceUID += f".{number}"
            dataset.save_as(tmp_path / f"I{number}{place}", enforce_file_format=True)
    assert [(case.name, len(case.files)) for case in find_scans(tmp_path)] == [
        (f"{tmp_path.name}_2", 4), (f"{tmp_path.name}_3", 4)]


def test_a_series_spread_over_folders_is_one_scan_and_a_copy_is_another(tmp_path):
    slices = numbered(1)
    export(tmp_path / "cd", A_A=slices[:2], A_B=slices[2:], B=numbered(2))
    assert [(case.name, len(case.files)) for case in find_scans(tmp_path / "cd")] == [("A", 4), ("B", 4)]
    shutil.copytree(tmp_path / "cd" / "B", tmp_path / "cd" / "B copy")
    assert [case.name for case in find_scans(tmp_path / "cd")] == ["A", "B", "B copy"]


def test_what_predict_wrote_into_a_series_folder_or_beside_it_is_no_part_of_it(tmp_path, capsys):
    folder = export(tmp_path / "cd", SE1=numbered(1)) / "SE1"
    before = find_scans(folder)
    for output in (folder, folder / "out", tmp_path / "cd" / "out"):
        touch(output, "prediction_SE1.nii.gz", "prediction_SE1.json", "summary.csv", "findings.csv")
        segmentation = numbered(8, SOPClassUID=uid.SegmentationStorage, Modality="SEG")[0]
        segmentation.save_as(output / "prediction_SE1.dcm", enforce_file_format=True)
        (output / "prediction_SE1.png").write_bytes(b"\x89PNG\r\n")
        (output / "prediction_SE1.json").write_text("{}")
        (output / "summary.csv").write_text("case\n")
        (output / "findings.csv").write_text("case\n")
    assert find_scans(folder) == before
    assert [case.name for case in find_scans(tmp_path / "cd")] == ["SE1"]
    assert "SE1/out" not in capsys.readouterr().err


def test_a_single_dicom_file_says_what_to_give(tmp_path):
    export(tmp_path / "cd", SE1=numbered(1))
    for name in ("DICOMDIR", "SE1/IM0000"):
        with pytest.raises(InputError, match=f"{name}: is a single DICOM file; expected a series: give its folder"):
            find_scans(tmp_path / "cd" / name)


def test_scans_in_deeper_folders_are_named(tmp_path, capsys):
    touch(tmp_path, "sub-01/anat/a.nii.gz", "sub-02/anat/b.nii", "out/prediction_a.nii.gz")
    with pytest.raises(InputError, match=r"it holds sub-01/anat/a\.nii\.gz, sub-02/anat/b\.nii, give that"):
        find_scans(tmp_path)
    touch(tmp_path, "c.nii")
    assert [case.name for case in find_scans(tmp_path)] == ["c"]
    assert "sub-01/anat/a.nii.gz and 1 more are left out" in capsys.readouterr().err


def test_a_link_to_a_folder_above_is_not_followed(tmp_path):
    folder = export(tmp_path / "cd", SE1=numbered(1))
    (folder / "SE1" / "back").symlink_to(folder)
    (folder / "linked").symlink_to(write_series(tmp_path / "elsewhere", numbered(2)))
    assert [case.name for case in find_scans(folder)] == ["SE1", "linked"]


@pytest.mark.parametrize("kind", ["file", "series", "case"])
def test_a_name_that_is_too_long_is_cut_and_the_others_are_found(kind, tmp_path, capsys):
    for number, name in enumerate(("a" * 240, "a" * 241, "b")):
        if kind == "file":
            touch(tmp_path, f"{name}.nii.gz")
        elif kind == "series":
            write_series(tmp_path / name, numbered(number))
        else:
            touch(tmp_path, f"{name}/imaging.nii.gz")
    names = [case.name for case in find_scans(tmp_path)]
    assert len(set(names)) == 3 and names[2] == "b"
    assert all(len(name) == LONGEST_NAME and name.startswith("a" * 191 + "_") for name in names[:2])
    assert capsys.readouterr().err.splitlines() == [
        f"warning: {tmp_path}: a name of more than 200 bytes was shortened; the case is {name}" for name in names[:2]]


@pytest.mark.parametrize("name", ["a\nb", "tab\there", os.fsdecode(b"broken\xff"), "\x1b[31mred", "back\\slash"])
def test_a_strange_name_is_refused_by_itself(name, tmp_path):
    touch(tmp_path, f"{name}.nii.gz", "good.nii.gz")
    strange, = [case for case in find_scans(tmp_path) if case.name != "good"]
    assert strange.name.isprintable()
    with pytest.raises(InputError, match="expected a plain file name of at most 200 bytes") as caught:
        strange.check_single()
    assert str(caught.value).isprintable() and str(caught.value).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("scans", ["files", "series", "a series"])
def test_predictions_beside_their_scans_are_none(scans, tmp_path, capsys):
    """The command runs again with its earlier output inside its input folder."""
    expected = ["a", "b"] if scans != "a series" else ["folder"]
    folder = tmp_path / "folder"
    if scans == "files":
        touch(folder, "a.nii.gz", "b.nii.gz")
    elif scans == "series":
        series_in(folder, "a", "b")
    else:
        series_in(tmp_path, "folder")
    touch(folder, *(f"prediction_{name}.nii.gz" for name in expected))
    assert [case.name for case in find_scans(folder)] == expected
    told = "prediction_a.nii.gz and 1 more are" if scans != "a series" else "prediction_folder.nii.gz is"
    assert f"{told} left out" in capsys.readouterr().err


def test_predictions_alone_are_scans_for_who_asks_for_them(tmp_path):
    touch(tmp_path, "prediction_00000.nii.gz", "prediction_00001.nii.gz")
    assert [case.name for case in find_scans(tmp_path)] == ["prediction_00000", "prediction_00001"]


def test_slices_in_a_folder_of_files_are_left_out_with_a_warning(tmp_path, capsys):
    touch(series_in(tmp_path, "folder") / "folder", "scan.nii.gz")
    assert [case.name for case in find_scans(tmp_path / "folder")] == ["scan"]
    assert "the DICOM slices in it are left out" in capsys.readouterr().err


def test_a_case_that_may_not_be_looked_into_is_listed_once(tmp_path, monkeypatch):
    touch(tmp_path, "case_00000/imaging.nii.gz", "case_00001/imaging.nii.gz", "case_00001/segmentation.nii.gz")
    lstat = os.lstat

    def forbidden(path, *given, **named):
        if "case_00001/" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return lstat(path, *given, **named)

    monkeypatch.setattr(os, "lstat", forbidden)
    _, hidden = find_study(tmp_path)
    assert (hidden.name, hidden.imaging) == ("case_00001", tmp_path / "case_00001" / "imaging.nii.gz")
    hidden.check_single()


def test_a_folder_that_may_not_be_looked_into_is_left_out_with_a_warning(tmp_path, monkeypatch, capsys):
    (series_in(tmp_path, "a") / "lost+found").mkdir()
    iterdir = pathlib.Path.iterdir

    def forbidden(path):
        if path.name == "lost+found":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(pathlib.Path, "iterdir", forbidden)
    assert [case.name for case in find_scans(tmp_path)] == ["a"]
    assert capsys.readouterr().err == f"warning: {tmp_path}/lost+found: cannot be read (Permission denied), left out\n"


@pytest.mark.parametrize("what", ["nowhere", "nothing_here"])
def test_a_place_without_scans_is_named(what, tmp_path):
    touch(tmp_path, "nothing_here/notes.txt")
    with pytest.raises(InputError, match=what):
        find_scans(tmp_path / what)


@pytest.mark.parametrize(("name", "without"), [
    ("a/case.nii.gz", "case"), ("case.nii", "case"), ("CASE.NII.GZ", "CASE"), ("v1.2.nii.gz", "v1.2"), ("x.txt", "x"),
    ("scan", "scan")])
def test_stem_drops_the_nifti_ending(name, without):
    assert stem(name) == without
