"""Tests a second run of predict.py: up-to-date cases are skipped, changed cases are recomputed, counts agree."""

import json
import os
import shutil
import threading

import nibabel as nib
import numpy as np
import pytest
import tensorflow as tf
from harness import chores
from harness.patients import HU
from harness.tables import read_rows

import kits_tf
from kits_tf import cluster
from kits_tf.errors import InputError, RunError
from kits_tf.files import exports, own
from kits_tf.files.lock import only_writer
from kits_tf.reporting import overlay, predictions
from kits_tf.scans import formats
from kits_tf.scans.nifti import write_volume
from kits_tf.serving import Predictor
from kits_tf.serving.__main__ import predict

NAMES = ("case_00001", "case_00002", "case_00003")


@pytest.fixture
def answers(monkeypatch):
    """List of the scans that the model has predicted."""
    asked, explain = [], Predictor.explain

    def counting(self, volume):
        asked.append(volume.voxels.shape)
        return explain(self, volume)

    monkeypatch.setattr(Predictor, "explain", counting)
    return asked


@pytest.fixture
def study(small_patient, tmp_path):
    for number, name in enumerate(NAMES):
        voxels = HU[small_patient.voxels] + np.int16(number)
        write_volume(tmp_path / "study" / name / "imaging.nii.gz", small_patient.with_voxels(voxels))
    return tmp_path / "study"


@pytest.fixture
def run(quick_export, study, tmp_path, answers, capsys):
    """Runs predict.py; returns (exit status, counts of cases in its last line, predicted scans)."""
    def again(model=quick_export, **more):
        answers.clear()
        capsys.readouterr()
        status = predict(model, study, tmp_path / "out", **{"overlay": False, **more})
        said = capsys.readouterr().err.splitlines()[-1].split("; ")[0]
        return status, said, len(answers)

    return again


def content(folder, ending=""):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.iterdir())
            if path.name.endswith(ending)}


def statuses(folder):
    return {row["case"]: row["status"] for row in read_rows(folder / "summary.csv")}


def test_what_is_up_to_date_is_left_alone_and_in_the_summary(run, tmp_path):
    assert run() == (0, "3 done, 0 unchanged, 0 failed", 3)
    first = read_rows(tmp_path / "out" / "summary.csv")
    before = content(tmp_path / "out", ".nii.gz") | content(tmp_path / "out", ".json")
    findings = (tmp_path / "out" / "findings.csv").read_text()
    assert len(before) == 6 and all(name in findings for name in NAMES)
    assert run() == (0, "0 done, 3 unchanged, 0 failed", 0)
    assert content(tmp_path / "out", ".nii.gz") | content(tmp_path / "out", ".json") == before
    assert (tmp_path / "out" / "findings.csv").read_text() == findings
    again = read_rows(tmp_path / "out" / "summary.csv")
    own = {"status", "seconds"}
    assert [{k: v for k, v in row.items() if k not in own} for row in again] == [
        {k: v for k, v in row.items() if k not in own} for row in first]


def test_nothing_to_do_loads_no_model(quick_export, run, tmp_path, monkeypatch):
    assert run()[0] == 0
    shutil.copytree(quick_export, tmp_path / "another path")  # a model of this path is not loaded yet
    monkeypatch.setattr("kits_tf.serving.Predictor", None)
    assert run(tmp_path / "another path") == (0, "0 done, 3 unchanged, 0 failed", 0)


def test_a_scan_of_the_same_size_and_date_that_changed_is_done_again(run, study, tmp_path):
    run()
    before = content(tmp_path / "out", ".nii.gz")
    path, other = study / NAMES[1] / "imaging.nii.gz", study / NAMES[2] / "imaging.nii.gz"
    date = path.stat().st_mtime_ns
    raw = bytearray(path.read_bytes())
    raw[4:8] = b"\x01\x02\x03\x04"  # gzip's date field: the same scan, other bytes, the same size
    path.write_bytes(raw)
    os.utime(path, ns=(date, date))
    assert run() == (0, "0 done, 1 redone, 2 unchanged, 0 failed", 1)
    after = content(tmp_path / "out", ".nii.gz")
    assert [name for name in after if after[name][0] != before[name][0]] == ["prediction_00002.nii.gz"]
    assert {name: raw for name, (_, raw) in after.items()} == {name: raw for name, (_, raw) in before.items()}
    shutil.copy(other, path)
    assert run() == (0, "0 done, 1 redone, 2 unchanged, 0 failed", 1)


@pytest.mark.parametrize("named", [".hdr", ".img"])
def test_a_pair_is_done_again_when_either_half_changed(named, quick_export, small_patient, tmp_path, answers):
    scan = tmp_path / f"scan{named}"
    voxels = HU[small_patient.voxels].astype(np.int16)

    def save(voxels, affine):
        nib.save(nib.Nifti1Pair(voxels, affine), scan)
        answers.clear()
        assert predict(quick_export, scan, tmp_path / "out", overlay=False) == 0
        return len(answers)

    assert save(voxels, small_patient.affine) == 1
    assert save(voxels, small_patient.affine) == 0
    header = (tmp_path / "scan.hdr").read_bytes()
    assert save(voxels + np.int16(1), small_patient.affine) == 1
    assert (tmp_path / "scan.hdr").read_bytes() == header
    assert save(voxels + np.int16(1), small_patient.affine * 1.1) == 1


@pytest.mark.parametrize("gone", [".nii.gz", ".json", ".kits_tf.sha256"])
def test_what_a_killed_run_or_a_user_took_away_is_made_again_byte_for_byte(gone, run, tmp_path):
    run()
    before = content(tmp_path / "out", ".nii.gz") | content(tmp_path / "out", ".json")
    (tmp_path / "out" / (f"prediction_00002{gone}" if gone != own.LIST else "prediction_00002.nii.gz")).unlink()
    said = "1 done, 2 unchanged" if gone == ".json" else "0 done, 1 redone, 2 unchanged"
    assert run() == (0, f"{said}, 0 failed", 1)
    after = content(tmp_path / "out", ".nii.gz") | content(tmp_path / "out", ".json")
    assert {name: raw for name, (_, raw) in after.items()} == {name: raw for name, (_, raw) in before.items()}


@pytest.mark.parametrize("damage", ["corrected by hand", "cut", "no report", "another's report"])
def test_a_file_that_was_changed_since_is_kept_and_reported_without_overwrite(damage, run, tmp_path):
    run()
    before = content(tmp_path / "out", ".nii.gz") | content(tmp_path / "out", ".json")
    labels, report = tmp_path / "out" / "prediction_00002.nii.gz", tmp_path / "out" / "prediction_00002.json"
    raw = bytearray(labels.read_bytes())
    raw[len(raw) // 2] ^= 1
    {"corrected by hand": lambda: labels.write_bytes(raw), "cut": lambda: labels.write_bytes(raw[:-9]),
     "no report": lambda: report.write_text("[]"),
     "another's report": lambda: shutil.copy(tmp_path / "out" / "prediction_00001.json", report)}[damage]()
    changed = content(tmp_path / "out", ".nii.gz") | content(tmp_path / "out", ".json")
    assert run() == (1, "0 done, 2 unchanged, 1 failed", 0)
    assert content(tmp_path / "out", ".nii.gz") | content(tmp_path / "out", ".json") == changed
    row = read_rows(tmp_path / "out" / "summary.csv")[1]
    assert row["status"] == "failed" and "was changed since, and is kept" in row["message"]
    assert run(overwrite=True) == (0, "0 done, 1 redone, 2 unchanged, 0 failed", 1)
    after = content(tmp_path / "out", ".nii.gz") | content(tmp_path / "out", ".json")
    assert {name: raw for name, (_, raw) in after.items()} == {name: raw for name, (_, raw) in before.items()}


def test_another_model_redoes_no_case_whose_labels_were_corrected_and_a_kind_not_asked_for_stays(run, tmp_path):
    run(overlay=True)
    picture, table = tmp_path / "out" / "prediction_00003.png", tmp_path / "out" / "summary.csv"
    (tmp_path / "out" / "prediction_00001.nii.gz").write_bytes(b"by hand")
    picture.write_bytes(b"by hand")
    assert run(xla="on")[:2] == (1, "0 done, 2 redone, 0 unchanged, 1 failed")
    assert (tmp_path / "out" / "prediction_00001.nii.gz").read_bytes() == picture.read_bytes() == b"by hand"
    assert not (tmp_path / "out" / "prediction_00002.png").exists()
    assert "prediction_00003.png is not of this run" in read_rows(table)[2]["message"]


@pytest.mark.parametrize("table", ["summary.csv", "findings.csv", "report.html"])
def test_a_table_that_is_not_ours_is_kept_and_reported_before_any_work(table, run, tmp_path, answers):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / table).write_text("the user's")
    with pytest.raises(InputError, match=f"{table}: was not written by this program"):
        run(report=True)
    assert not answers and [path.name for path in (tmp_path / "out").iterdir()] == [table]


@pytest.mark.parametrize("step", ["summary", "overlay"])
def test_a_run_that_ends_early_keeps_the_tables_and_files_of_the_one_before(step, run, tmp_path, monkeypatch):
    run(overlay=True)
    before = content(tmp_path / "out")

    def full(*_):
        raise RunError("out: cannot be written (No space left on device)")

    monkeypatch.setattr("kits_tf.serving.__main__.write_table" if step == "summary" else
                        "kits_tf.reporting.overlay.draw_overlay", full)
    with pytest.raises(RunError):
        run(overlay=True, overwrite=True, **({} if step == "summary" else {"xla": "on"}))
    assert content(tmp_path / "out") == before


def test_what_auto_chose_makes_no_case_stale_but_a_flag_that_differs_does(run, tmp_path, monkeypatch):
    assert run(xla="auto")[1] == "3 done, 0 unchanged, 0 failed"
    report = json.loads((tmp_path / "out" / "prediction_00001.json").read_text())
    assert report["computed"] == {"device": "CPU", "precision": "float32", "xla": False, "tensorflow": tf.__version__}
    assert run(xla="off")[1] == "0 done, 3 unchanged, 0 failed"
    assert run(xla="on")[1] == "0 done, 3 redone, 0 unchanged, 0 failed"
    assert run(xla="auto")[1] == "0 done, 3 unchanged, 0 failed"
    assert run(xla="off")[1] == "0 done, 3 redone, 0 unchanged, 0 failed"
    assert run(precision="float32")[1] == "0 done, 3 unchanged, 0 failed"
    assert run(precision="bfloat16")[1] == "0 done, 3 redone, 0 unchanged, 0 failed"
    report = json.loads((tmp_path / "out" / "prediction_00001.json").read_text())
    assert report["computed"]["precision"] == "bfloat16"
    assert run(precision="auto")[1] == "0 done, 3 unchanged, 0 failed"


def test_every_report_and_row_names_the_versions_and_the_model(run, study, tmp_path, quick_export):
    (study / NAMES[2] / "imaging.nii.gz").write_bytes(b"no scan")
    run(report=True)
    version = exports.find_export(quick_export)
    wanted = {"kits_tf_version": kits_tf.__version__, "model_version": version.name, "schema": 1,
              "model_sha256": exports.export_digest(version)}
    report = json.loads((tmp_path / "out" / "prediction_00001.json").read_text())
    assert {name: report[name] for name in wanted} == wanted
    for row in read_rows(tmp_path / "out" / "summary.csv"):
        assert {name: row[name] for name in wanted} == {name: str(value) for name, value in wanted.items()}
    assert wanted["model_sha256"] in (tmp_path / "out" / "report.html").read_text()
    assert {row["schema"] for row in read_rows(tmp_path / "out" / "findings.csv")} <= {"1"}


def test_another_model_redoes_all_and_the_same_one_elsewhere_nothing(quick_export, run, tmp_path):
    run()
    shutil.copytree(quick_export, tmp_path / "moved")
    assert run(tmp_path / "moved") == (0, "0 done, 3 unchanged, 0 failed", 0)
    config = exports.find_export(tmp_path / "moved") / "assets" / "config.json"
    config.write_text(config.read_text().replace('"kidney_min_voxels": 1875', '"kidney_min_voxels": 1876'))
    assert run(tmp_path / "moved") == (0, "0 done, 3 redone, 0 unchanged, 0 failed", 3)


def test_a_picture_that_is_wanted_now_is_drawn_and_one_that_is_not_stays(run, tmp_path):
    assert run()[2] == 3
    assert run(overlay=True) == (0, "0 done, 3 redone, 0 unchanged, 0 failed", 3)
    drawn = content(tmp_path / "out", ".png")
    assert len(drawn) == 3
    assert run(overlay=True) == (0, "0 done, 3 unchanged, 0 failed", 0)
    assert run(overlay=False) == (0, "0 done, 3 unchanged, 0 failed", 0)
    assert content(tmp_path / "out", ".png") == drawn


def test_a_scan_that_turns_bad_keeps_its_prediction_which_is_of_an_earlier_run(run, study, tmp_path):
    run()
    before = content(tmp_path / "out", ".gz")
    whole = (study / NAMES[0] / "imaging.nii.gz").read_bytes()
    (study / NAMES[0] / "imaging.nii.gz").write_bytes(whole[:200])
    assert run()[:2] == (1, "0 done, 2 unchanged, 1 failed")
    assert content(tmp_path / "out", ".gz") == before
    assert read_rows(tmp_path / "out" / "summary.csv")[0]["message"].endswith("its files here are of an earlier run")
    assert "case_00001" not in (tmp_path / "out" / "findings.csv").read_text()
    assert statuses(tmp_path / "out") == dict(zip(NAMES, ("failed", "unchanged", "unchanged"), strict=True))
    (study / NAMES[0] / "imaging.nii.gz").write_bytes(whole)
    assert run()[:2] == (0, "0 done, 3 unchanged, 0 failed")


def test_a_scan_that_is_there_twice_is_refused_and_keeps_its_prediction(run, study, tmp_path):
    run()
    (study / NAMES[0] / "imaging.nii").write_bytes(b"another")
    assert run()[:2] == (1, "0 done, 2 unchanged, 1 failed")
    assert (tmp_path / "out" / "prediction_00001.nii.gz").exists()


def test_a_model_that_cannot_be_loaded_is_one_line_for_all_cases(quick_export, study, tmp_path, capsys):
    broken = shutil.copytree(quick_export, tmp_path / "broken")
    (exports.find_export(broken) / "saved_model.pb").write_bytes(b"\x08\x01broken")
    with pytest.raises(RunError, match="cannot be loaded"):
        predict(broken, study, tmp_path / "out", overlay=False)
    assert "failed" not in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("prediction*"))


def test_a_model_that_was_replaced_is_loaded_again(tmp_path):
    loads = str(tmp_path / "loads")
    one = cluster.once(chores.model, loads, version="a")
    assert cluster.once(chores.model, loads, version="a") is one
    assert cluster.once(chores.model, loads, version="b") is not one
    assert (tmp_path / "loads").read_text() == "xx"


def test_the_next_scan_is_read_while_the_nets_compute_on_one(run, monkeypatch):
    read, at_work, most, another = [], [], [], threading.Event()
    read_scan, explain = formats.read_scan, Predictor.explain

    def reading(case):
        read.append(case)
        if len(read) > 1:
            another.set()
        return read_scan(case)

    def computing(self, volume):
        at_work.append(volume)
        most.append(len(at_work))
        assert another.wait(20.0)
        found = explain(self, volume)
        at_work.pop()
        return found

    monkeypatch.setattr(formats, "read_scan", reading)
    monkeypatch.setattr(Predictor, "explain", computing)
    assert run() == (0, "3 done, 0 unchanged, 0 failed", 3)
    assert most == [1, 1, 1]


def test_a_long_scan_is_written_before_the_nets_see_another(run, monkeypatch):
    steps = []
    draw, explain = overlay.draw_overlay, Predictor.explain
    monkeypatch.setattr(predictions, "ALONE_VOXELS", 0)
    monkeypatch.setattr(overlay, "draw_overlay", lambda *given: (draw(*given), steps.append("drawn")))
    monkeypatch.setattr(Predictor, "explain", lambda *given: (steps.append("computed"), explain(*given))[1])
    assert run(overlay=True)[0] == 0
    assert steps == ["computed", "drawn"] * 3


def test_a_second_run_into_a_folder_is_refused_while_the_first_lasts(run, tmp_path, answers):
    with only_writer(tmp_path / "out"), pytest.raises(InputError, match=r"out: is in use by process \d+"):
        run()
    assert not answers
