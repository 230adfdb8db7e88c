"""Tests predict.py on one study with every kind of bad scan and some good scans, in one process."""

import json
import pathlib
import re

import nibabel as nib
import numpy as np
import pytest
from harness import commands
from harness.bad_scans import REFUSED, REFUSED_AS_SCAN
from harness.patients import HU
from harness.tables import read_rows

from kits_tf.scans.discovery import ENDINGS
from kits_tf.scans.nifti import write_volume
from kits_tf.serving import Predictor
from kits_tf.volume import Volume

ROOT = pathlib.Path(__file__).parents[2]
BAD = {name: entry for name, entry in {**REFUSED, **REFUSED_AS_SCAN}.items()
       if name.endswith(ENDINGS) and name not in ("missing.nii.gz", "unreadable.nii.gz")}  # root may read the latter
GOOD = ("good", "Größe, 腎臓 1", "..good", "-rf")


@pytest.fixture(scope="module")
def predicted(quick_export, small_patient, tmp_path_factory):
    """(finished process, study, output folder, rows of the summary)."""
    folder = tmp_path_factory.mktemp("bad")
    study, output = folder / "study", folder / "predicted"
    for name, (make, _) in BAD.items():
        (study / name).mkdir(parents=True)
        make(study / name / f"imaging{'.nii.gz' if name.endswith('.gz') else '.nii'}")
    (study / "link to nowhere").symlink_to("gone")
    for name in GOOD:
        write_volume(study / name / "imaging.nii.gz", small_patient.with_voxels(HU[small_patient.voxels]))
    done = commands.run("predict.py", f"--model={quick_export}", f"--input={study}", f"--output={output}")
    rows = {row["case"]: row for row in read_rows(output / "summary.csv")}
    return done, study, output, rows


def test_good_scans_are_done_bad_ones_are_a_line_each_and_the_status_is_1(predicted):
    done, study, _, rows = predicted
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert {name for name, row in rows.items() if row["status"] == "done"} == set(GOOD)
    assert {name for name, row in rows.items() if row["status"] == "failed"} == {*BAD, "link to nowhere"}
    failures = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failures) == len(BAD) + 1
    for name in BAD:
        assert sum(f"{study / name / 'imaging'}." in line for line in failures) == 1, name


@pytest.mark.parametrize("name", BAD)
def test_the_summary_says_why_a_scan_was_refused(name, predicted):
    said = BAD[name][1].replace(name.split(".")[0], "imaging") if name in BAD[name][1] else BAD[name][1]
    message = predicted[3][name]["message"]
    if said in name:  # the table expects only the file's name
        said = "imaging"
    assert re.search(said, message), message


def test_nothing_is_half_written(predicted):
    _, _, output, _ = predicted
    expected = {f"prediction_{name}{ending}" for name in GOOD for ending in (".nii.gz", ".json", ".png")}
    assert {path.name for path in output.rglob("*")} == expected | {"summary.csv", "findings.csv", ".kits_tf.sha256"}
    labels = {nib.load(output / f"prediction_{name}.nii.gz").get_fdata().sum() for name in GOOD}
    assert len(labels) == 1 and labels.pop() > 0


def test_what_is_odd_about_a_good_scan_is_in_its_report(predicted):
    warnings = json.loads((predicted[2] / "prediction_good.json").read_text())["warnings"]
    # An image of three gray values: no air, and a small field of view.
    assert "It covers only 105 mm from front to back: organs may be cut off." in warnings
    assert any(line.startswith("Only 0.0% of it is air") for line in warnings)
    assert not any("touches the scan's edge" in line for line in warnings)


def test_a_scan_in_other_units_and_a_kidney_cut_off_are_warned_of(quick_export, small_patient):
    predictor = Predictor(quick_export)
    moved = HU[small_patient.voxels][:, :, 10:].astype(np.int16)  # through a kidney, to the patient's right
    labels, report = predictor.explain(Volume.from_spacing(np.ascontiguousarray(moved), (5.0, 2.1, 2.3)))
    assert labels.voxels[:, :, 0].any()
    assert report["warnings"][-1] == "A kidney or tumor touches the scan's edge towards the right: it may be cut off."
    report = predictor.explain(Volume.from_spacing((moved + 1100).astype(np.int16), (5.0, 2.1, 2.3)))[1]
    assert sum("subtract 1024" in line for line in report["warnings"]) == 1
