"""Tests predict.py --report: pages of a run and its cases, and the measurements in every report."""

import json
import re

import numpy as np
import pytest
from harness.patients import HU
from harness.tables import read_rows

from kits_tf.scans.nifti import write_volume
from kits_tf.serving.__main__ import predict


@pytest.fixture(scope="module")
def study(small_patient, tmp_path_factory):
    """A case with its ground truth, one with that of another scan, one without, and one that is not a scan."""
    folder = tmp_path_factory.mktemp("study")
    scan = small_patient.with_voxels(HU[small_patient.voxels])
    for case in ("case_00001", "case_00002", "case_00003"):
        write_volume(folder / case / "imaging.nii.gz", scan)
    write_volume(folder / "case_00001" / "segmentation.nii.gz", small_patient)
    cut = type(scan)(small_patient.voxels[1:], scan.spacing_mm, scan.affine)
    write_volume(folder / "case_00002" / "segmentation.nii.gz", cut)
    (folder / "case_00004").mkdir()
    (folder / "case_00004" / "imaging.nii.gz").write_bytes(b"no scan")
    return folder


@pytest.fixture(scope="module")
def run(quick_export, study, tmp_path_factory):
    """The output folder of predict.py --report for the study."""
    output = tmp_path_factory.mktemp("run")
    assert predict(quick_export, study, output, report=True) == 1
    return output


def report_of(run, case):
    return json.loads((run / f"prediction_{case}.json").read_text())


def test_each_case_that_was_done_has_a_page(run):
    assert {path.name for path in run.glob("*.html")} == {
        "report.html", "prediction_00001.html", "prediction_00002.html", "prediction_00003.html"}


def test_the_run_page_links_its_cases_and_shows_why_one_failed(run):
    page = (run / "report.html").read_text()
    assert set(re.findall(r'href="(prediction_\d+\.html)"', page)) == {f"prediction_0000{n}.html" for n in (1, 2, 3)}
    assert page.index("case_00004") < page.index("case_00001")
    assert "case_00004/imaging.nii.gz" in page
    assert set(re.findall(r'<img src="(prediction_\d+\.png)"', page)) == {f"prediction_0000{n}.png" for n in (1, 2, 3)}


def test_a_folder_of_pages_has_one_copy_of_the_viewer_that_all_load(run):
    library, = run.glob("niivue-*.js")
    pages = [path.read_text() for path in run.glob("prediction_*.html")]
    assert len(pages) == 3 and all(f'<script src="{library.name}">' in page for page in pages)
    assert f"  {library.name}\n" in (run / ".kits_tf.sha256").read_text()


def test_a_page_embeds_the_scan_its_labels_and_the_truth(run, study):
    def kinds(case):
        data = re.search(r'id="data">(.*?)</script>', (run / f"prediction_{case}.html").read_text())[1]
        return [volume["kind"] for volume in json.loads(data)["volumes"]]

    assert kinds("00001") == ["scan", "labels", "truth"] and kinds("00003") == ["scan", "labels"]


def test_dice_is_shown_where_ground_truth_fits(run):
    assert report_of(run, "00001")["tk_dice"] > 0.95
    dice = {row["case"]: row["tk_dice"] for row in read_rows(run / "summary.csv")}
    assert float(dice.pop("case_00001")) == report_of(run, "00001")["tk_dice"]
    assert set(dice.values()) == {""}
    assert any("case_00002" in warning and "not used" in warning for warning in report_of(run, "00002")["warnings"])


def test_findings_agree_with_the_volumes_that_the_cascade_reports(run):
    report = report_of(run, "00001")
    kidneys, tumors = report["findings"]["kidneys"], report["findings"]["tumors"]
    assert report["tumors"] == len(tumors) > 0
    assert report["largest_tumor_mm"] == tumors[0]["diameter_axial_mm"]
    assert sum(kidney["volume_ml"] for kidney in kidneys) == pytest.approx(report["kidney_ml"] + report["tumor_ml"],
                                                                          rel=0.01)
    assert sum(tumor["volume_ml"] for tumor in tumors) == pytest.approx(report["tumor_ml"], rel=0.01)
    assert np.isclose(sum(kidney["tumor_ml"] for kidney in kidneys), report["tumor_ml"], rtol=0.01)


def test_findings_csv_has_a_row_per_kidney_and_per_tumor_as_the_reports_have_them(run):
    found = read_rows(run / "findings.csv")
    expected = [{"case": f"case_{number}", "what": what, "schema": "1",
                 **{key: str(value) for key, value in one.items()}}
                for number in ("00001", "00002", "00003") for what in ("kidney", "tumor")
                for one in report_of(run, number)["findings"][f"{what}s"]]
    assert {row["what"] for row in expected} == {"kidney", "tumor"}
    assert [{key: value for key, value in row.items() if value} for row in found] == expected
    assert list(found[0]) == ["case", "what", "side", "centre_zyx", "volume_ml", "tumor_ml", "tumor_share",
                              "diameter_axial_mm", "diameter_mm", "slice", "confidence", "schema"]
    assert all(float(row["confidence"]) > 0.9 for row in found)  # the nets are oracles


def test_new_ground_truth_makes_a_new_page(quick_export, study, small_patient, tmp_path):
    folder = tmp_path / "study"
    scan = small_patient.with_voxels(HU[small_patient.voxels])
    write_volume(folder / "case_00001" / "imaging.nii.gz", scan)
    for expected in (False, True):
        predict(quick_export, folder, tmp_path / "out", report=True)
        assert ("tk_dice" in report_of(tmp_path / "out", "00001")) == expected
        write_volume(folder / "case_00001" / "segmentation.nii.gz", small_patient)
