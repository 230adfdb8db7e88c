"""Scores studies of a few hundred voxels in this process, or by the command if its exit status is tested."""

import gzip
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from harness import commands
from harness.bad_scans import touch
from harness.tables import read_rows

import kits_tf
from kits_tf.cluster import Place
from kits_tf.errors import InputError
from kits_tf.evaluation.evaluator import case_id, evaluate_study, find_cases
from kits_tf.files import own
from kits_tf.files.lock import only_writer
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

ROOT = pathlib.Path(kits_tf.__file__).parents[1]
SHAPE = (6, 8, 10)
SPACING_MM = (5.0, 2.0, 4.0)  # 0.04 ml a voxel
COLUMNS = ("tk_dice", "tu_dice", "composite_dice", "mass_dice", "kidney_and_mass_surface_dice", "mass_surface_dice",
           "tumor_surface_dice")
SCORES = [column for column in COLUMNS if "mass_" not in column or "kidney" in column]  # of ground truth without cysts


def kidney_with_tumor(kidney_slices=4):
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:1 + kidney_slices, 2:6, 2:7] = 1  # 20 voxels a slice
    labels[1, 2:4, 2:7] = 2  # 10 of them
    return labels


def write(path, labels, spacing_mm=SPACING_MM):
    write_volume(path, Volume.from_spacing(labels, spacing_mm))


@pytest.fixture
def study(tmp_path):
    """Three cases: one predicted exactly, one with half of its kidney slices, one without a prediction."""
    for case in ("case_00003", "case_00021", "case_00210"):
        write(tmp_path / "study" / case / "segmentation.nii.gz", kidney_with_tumor())
    write(tmp_path / "found/prediction_00003.nii.gz", kidney_with_tumor())
    write(tmp_path / "found/prediction_00021.nii.gz", kidney_with_tumor(kidney_slices=2))
    return tmp_path


def evaluate(folder, *cases, predictions="found", labels="study"):
    return evaluate_study(folder / predictions, folder / labels, folder / "scores", cases or None)


def command(folder, *more, predictions="found", labels="study"):
    return commands.run("-m", "kits_tf.evaluation", f"--predictions={folder / predictions}",
                        f"--labels={folder / labels}", f"--output={folder / 'scores'}", *more)


def rows_of(folder):
    return {row["case"]: row for row in read_rows(folder / "scores/scores.csv")}


def test_columns_begin_with_case_tk_dice_tu_dice_and_end_with_note_and_schema(study):
    done = command(study)
    assert done.returncode == 0, done.stderr
    header = (study / "scores/scores.csv").read_text().splitlines()[0].split(",")
    assert header == ["case", *COLUMNS, "true_kidney_ml", "true_tumor_ml", "predicted_kidney_ml", "predicted_tumor_ml",
                      "note", "schema"]
    assert [path.name for path in sorted((study / "scores").iterdir())] == [own.LIST, "scores.csv", "summary.json"]


@pytest.mark.parametrize("more", [["--cases=case_00004"], ["--labels=nowhere"]])
def test_users_mistake_is_one_line_on_stderr_and_status_1(study, more):
    done = command(study, *more)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


def test_half_a_kidney_scores_2_thirds_and_volumes_are_in_ml(study):
    evaluate(study)
    rows = rows_of(study)
    assert [float(rows["case_00003"][name]) for name in SCORES] == [1.0] * 5
    half = rows["case_00021"]
    assert float(half["tk_dice"]) == pytest.approx(2 * 40 / 120, abs=1e-6)
    assert float(half["tu_dice"]) == 1.0
    assert 0 < float(half["kidney_and_mass_surface_dice"]) < 1
    columns = "true_kidney_ml", "true_tumor_ml", "predicted_kidney_ml", "predicted_tumor_ml"
    assert [float(half[name]) for name in columns] == [2.8, 0.4, 1.2, 0.4]  # 70, 10, 30 and 10 voxels


def test_missing_prediction_scores_0_and_pulls_the_mean_to_1_of_3(study):
    (study / "found/prediction_00021.nii.gz").unlink()
    assert evaluate(study) == 0
    row = rows_of(study)["case_00210"]
    assert [float(row[name]) for name in SCORES] == [0.0] * 5
    assert row["note"] == "missing prediction"
    assert row["predicted_kidney_ml"] == ""
    assert float(row["true_kidney_ml"]) == pytest.approx(2.8)
    summary = json.loads((study / "scores/summary.json").read_text())
    assert summary["cases"] == 3
    assert summary["missing"] == ["case_00021", "case_00210"]
    assert summary["scores"]["tu_dice"] == {
        "mean": pytest.approx(1 / 3), "median": 0.0, "worst": {"case": "case_00021", "score": 0.0}}


def test_a_missing_first_prediction_changes_no_other_case(study):
    evaluate(study)
    before = rows_of(study)["case_00021"]
    sorted((study / "found").glob("prediction_*.nii.gz"))[0].unlink()
    evaluate(study)
    assert rows_of(study)["case_00021"] == before


def test_table_has_a_row_per_case_then_mean_median_and_the_worst_case(study, capsys):
    evaluate(study)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["case_00003", "case_00021", "case_00210"]
    assert [line.split()[:2] for line in lines[6:8]] == [["mean", "0.5556"], ["median", "0.6667"]]  # (1 + 2/3 + 0) / 3
    assert lines[4].endswith("missing prediction")
    assert [line for line in lines if line.startswith("worst")] == [
        f"worst {name}: 0.0000 case_00210" for name in SCORES]


def test_prediction_in_another_axis_order_scores_1(study):
    path = study / "found/prediction_00003.nii.gz"
    nib.save(nib.as_closest_canonical(nib.load(path)), path)
    assert nib.load(path).shape == SHAPE[::-1]
    evaluate(study)
    assert float(rows_of(study)["case_00003"]["tk_dice"]) == 1.0


@pytest.mark.parametrize(("shape", "spacing_mm", "note"), [
    ((6, 8, 9), SPACING_MM, "has shape (6, 8, 9) (z, y, x), expected that of its labels, (6, 8, 10)"),
    (SHAPE, (5.0, 2.0, 4.1), "is up to 0.95 mm away from its labels"),  # 9.5 steps of 0.1 mm
])
def test_prediction_in_another_place_scores_0_says_so_and_exits_with_1(study, shape, spacing_mm, note):
    write(study / "found/prediction_00003.nii.gz", np.ones(shape, np.uint8), spacing_mm)
    done = command(study)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert [note in line for line in done.stderr.splitlines()] == [True, False]  # the other: a missing prediction
    rows = rows_of(study)
    assert float(rows["case_00003"]["tk_dice"]) == 0.0
    assert note in rows["case_00003"]["note"]
    assert float(rows["case_00021"]["tk_dice"]) > 0.6
    assert json.loads((study / "scores/summary.json").read_text())["failed"] == ["case_00003"]


def test_corners_5_micrometers_apart_are_the_same_place(study):
    write(study / "found/prediction_00003.nii.gz", kidney_with_tumor(), (5.0, 2.0, 4.0 + 0.005 / 9.5))
    assert evaluate(study) == 0
    assert float(rows_of(study)["case_00003"]["tk_dice"]) == 1.0


@pytest.mark.parametrize("damage", ["cut", "class"])
def test_prediction_that_is_no_label_volume_scores_0_and_exits_with_1(study, damage):
    path = study / "found/prediction_00003.nii.gz"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:60])
    else:
        write(path, kidney_with_tumor() * 3)
    assert evaluate(study) == 1
    row = rows_of(study)["case_00003"]
    assert float(row["tk_dice"]) == 0.0
    assert "prediction_00003.nii.gz" in row["note"]


def test_ground_truth_with_a_fourth_class_gets_no_score_and_exits_with_1_and_the_others_are_scored(study, capsys):
    write(study / "study/case_00003/segmentation.nii.gz", kidney_with_tumor() + 1)
    assert evaluate(study) == 1
    said = capsys.readouterr()
    failed, = [line for line in said.err.splitlines() if line.startswith("failed:")]
    assert re.search(r"case_00003.*holds label 3", failed)
    assert re.search(r"case_00003 +- +- .*holds label 3", said.out)
    rows = rows_of(study)
    assert {rows["case_00003"][name] for name in SCORES} == {""}
    assert "holds label 3" in rows["case_00003"]["note"]
    summary = json.loads((study / "scores/summary.json").read_text())
    assert (summary["cases"], summary["failed"]) == (2, ["case_00003"])
    assert summary["scores"]["tu_dice"]["mean"] == pytest.approx(1 / 2)  # of 1 and 0, a missing prediction


def test_no_readable_ground_truth_at_all_is_one_line(study):
    write(study / "study/case_00003/segmentation.nii.gz", kidney_with_tumor() + 1)
    with pytest.raises(InputError, match="no case could be scored"):
        evaluate(study, "case_00003")
    assert not list((study / "scores").iterdir())


def test_two_workers_score_as_one_process_does(study):
    assert evaluate(study) == 0
    alone = {path.name: path.read_bytes() for path in (study / "scores").iterdir()}
    assert evaluate_study(study / "found", study / "study", study / "scores", place=Place(workers=2)) == 0
    assert {path.name: path.read_bytes() for path in (study / "scores").iterdir()} == alone


@pytest.mark.parametrize("where", ["predictions", "labels"])
def test_missing_folder_names_its_flag(study, where):
    with pytest.raises(InputError, match=f"nowhere: no such folder, --{where}"):
        evaluate(study, **{where: "nowhere"})


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines"], ids=["latin", "two lines"])
def test_a_case_with_an_unusable_name_is_refused_before_anything_is_scored(study, name, capsys):
    case = os.path.join(os.fsencode(study / "study"), name)
    os.mkdir(case)
    shutil.copy(next((study / "study").glob("*/segmentation.nii.gz")), os.path.join(case, b"segmentation.nii.gz"))
    with pytest.raises(InputError, match="expected a plain file name"):
        evaluate(study)
    assert capsys.readouterr().out == ""


def test_folder_without_labels_is_refused(study):
    (study / "empty").mkdir()
    with pytest.raises(InputError, match="contains no labels"):
        evaluate(study, labels="empty")


def test_output_that_is_a_file_is_refused(study):
    (study / "scores").write_text("")
    with pytest.raises(InputError, match="scores: cannot be created"):
        evaluate(study)


def test_a_second_run_into_a_folder_is_refused_while_the_first_lasts(study):
    with only_writer(study / "scores"), pytest.raises(InputError, match=r"scores: is in use by process \d+"):
        evaluate(study)
    assert not list((study / "scores").iterdir())
    assert evaluate(study) == 0


def test_two_predictions_for_one_case_are_refused(study):
    write(study / "found/prediction_case_00003.nii.gz", kidney_with_tumor())
    with pytest.raises(InputError, match="both belong to case 00003"):
        evaluate(study)


def test_cases_limits_the_rows_by_name_or_number(study):
    assert command(study, "--cases=case_00021,00003").stderr == ""
    assert list(rows_of(study)) == ["case_00003", "case_00021"]


def test_prediction_without_labels_is_warned_of_and_not_scored(study, capsys):
    write(study / "found/prediction_00099.nii.gz", kidney_with_tumor())
    assert evaluate(study) == 0
    assert "prediction_00099.nii.gz: no labels" in capsys.readouterr().err
    assert len(rows_of(study)) == 3


def test_folder_of_label_files_is_taken_as_a_study(study):
    write(study / "flat/liver-7.nii.gz", kidney_with_tumor())
    write(study / "flat/case_00003.nii", kidney_with_tumor())
    write(study / "found/prediction_liver-7.nii.gz", kidney_with_tumor())
    assert evaluate(study, labels="flat") == 0
    assert {case: float(row["tk_dice"]) for case, row in rows_of(study).items()} == {"case_00003": 1.0, "liver-7": 1.0}


def test_predictions_named_as_kits23_names_them_are_found(study):
    write(study / "plain/case_00210.nii.gz", kidney_with_tumor())
    evaluate(study, "00210", predictions="plain")
    assert float(rows_of(study)["case_00210"]["tk_dice"]) == 1.0


@pytest.mark.parametrize(("name", "identity"), [
    ("prediction_00210", "00210"), ("case_00210", "00210"), ("00210", "00210"), ("prediction_liver-7", "liver-7"),
    ("case_00210_0000", "case_00210_0000")])
def test_names_of_one_case_share_an_id(name, identity):
    assert case_id(name) == identity


@pytest.mark.parametrize("whose", ["found/prediction_00003", "study/case_00003/segmentation"])
def test_labels_that_a_tool_rewrote_with_a_scale_factor_score_as_before(whose, study):
    path = study / f"{whose}.nii.gz"
    image = nib.load(path)
    header = image.header.copy()
    header.set_data_dtype(np.float32)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj, np.float32), image.affine, header), path)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[112:116] = np.float32(1.00002).tobytes()  # scl_slope
    path.write_bytes(gzip.compress(raw))
    assert float(nib.load(path).dataobj[1, 2, 2]) == pytest.approx(2.00004)
    assert evaluate(study) == 0
    assert float(rows_of(study)["case_00003"]["tk_dice"]) == float(rows_of(study)["case_00003"]["tu_dice"]) == 1.0


@pytest.mark.parametrize("value", [0.02, 0.5, 3.0, np.nan])
def test_numbers_between_the_classes_are_no_labels(value, study):
    labels = kidney_with_tumor().astype(np.float32)
    labels[0, 0, 0] = value
    write(study / "found/prediction_00003.nii.gz", labels)
    assert evaluate(study) == 1
    assert float(rows_of(study)["case_00003"]["tk_dice"]) == 0.0


def test_predictions_of_which_none_fits_are_one_line_with_the_nearest_names(study):
    for path in list((study / "found").iterdir()):
        path.rename(path.with_name(path.name.replace("prediction_", "prediction_KiTS_")))
    done = command(study)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r".*/found: none of its 2 predictions is named as a case of .*/study; nearest are "
                        r"prediction_KiTS_000(03|21)\.nii\.gz and case 000\1, which would be "
                        r"prediction_000\1\.nii\.gz; rename the files\n", done.stderr)
    assert not (study / "scores").exists()


def test_the_nearest_name_is_the_one_of_the_same_number(tmp_path):
    touch(tmp_path, "truth/case_00001.nii.gz", "truth/case_00010.nii.gz", "found/prediction_1.nii.gz")
    with pytest.raises(InputError, match=r"nearest are prediction_1\.nii\.gz and case 00001, which"):
        find_cases(tmp_path / "found", tmp_path / "truth")


def test_a_folder_without_predictions_is_one_line(study):
    (study / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no prediction"):
        evaluate(study, predictions="empty")
    with pytest.raises(InputError, match="holds no prediction of case 00210, named in --cases"):
        evaluate(study, "case_00210")


@pytest.mark.parametrize("names", [("scores.csv",), ("summary.json",)])
def test_tables_that_are_not_ours_are_kept_before_any_work(names, study):
    (study / "scores").mkdir()
    for name in names:
        (study / "scores" / name).write_text("the user's")
    with pytest.raises(InputError, match=f"{names[0]}: was not written by this program"):
        evaluate(study)
    assert {path.name: path.read_text() for path in (study / "scores").iterdir()} == dict.fromkeys(names, "the user's")
    assert evaluate_study(study / "found", study / "study", study / "scores", overwrite=True) == 0


@pytest.mark.parametrize("out", ["a pipe that nobody reads", "a terminal without letters", "closed", "full"])
def test_scores_are_written_even_if_printing_fails(out, study):
    (study / "study/case_00003").rename(study / "study/größe")
    (study / "found/prediction_00003.nii.gz").rename(study / "found/prediction_größe.nii.gz")
    line = {"a pipe that nobody reads": "{} | true; exit ${{PIPESTATUS[0]}}", "closed": "{} >&- 2>&-",
            "a terminal without letters": "PYTHONIOENCODING=ascii {}", "full": "{} > /dev/full 2> /dev/full"}[out]
    words = [sys.executable, "-m", "kits_tf.evaluation", f"--predictions={study / 'found'}",
             f"--labels={study / 'study'}", f"--output={study / 'scores'}"]
    done = subprocess.run(["bash", "-c", line.format(shlex.join(words))], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "Error" not in done.stderr
    assert len(rows_of(study)) == 3 and json.loads((study / "scores/summary.json").read_text())["cases"] == 3
    if "letters" in out:
        assert "gr\\xf6\\xdfe" in done.stdout
