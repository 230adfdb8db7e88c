"""Tests predict.py from NIfTI to NIfTI: its output files, their geometry, and its errors for bad input."""

import json
import pathlib
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from harness import commands
from harness.patients import HU
from harness.tables import read_rows

from kits_tf.errors import InputError
from kits_tf.files import own
from kits_tf.scans.nifti import write_volume
from kits_tf.serving.__main__ import predict
from kits_tf.volume import Volume

ROOT = pathlib.Path(__file__).parents[2]
REPORT = {"kidneys_coarse", "correction_used", "kidneys", "tumor_fallback_used", "lesions_kept", "lesions_dropped",
          "kidney_ml", "tumor_ml", "warnings"}


@pytest.fixture(scope="module")
def scan(small_patient):
    return small_patient.with_voxels(HU[small_patient.voxels])


@pytest.fixture(scope="module")
def study(scan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_volume(folder / "case_00210" / "imaging.nii.gz", scan)
    write_volume(folder / "case_00211" / "imaging.nii.gz", scan)
    return folder


def rows(folder):
    return read_rows(folder / "summary.csv")


def test_a_study_gets_labels_report_and_overlay_per_case(quick_export, study, scan, tmp_path):
    assert predict(quick_export, study, tmp_path) == 0
    expected = {f"prediction_{name}{ending}" for name in ("00210", "00211") for ending in (".nii.gz", ".json", ".png")}
    assert {path.name for path in tmp_path.iterdir()} == expected | {"summary.csv", "findings.csv", own.LIST}
    labels = nib.load(tmp_path / "prediction_00210.nii.gz")
    assert labels.get_data_dtype() == np.uint8
    assert labels.shape == scan.voxels.shape
    assert set(np.unique(labels.dataobj)) == {0, 1, 2}
    report = json.loads((tmp_path / "prediction_00210.json").read_text())
    assert report.keys() >= REPORT
    voxel_ml = np.prod(scan.spacing_mm) / 1000
    assert report["tumor_ml"] == pytest.approx((np.asarray(labels.dataobj) == 2).sum() * voxel_ml, abs=0.01)
    assert [row["status"] for row in rows(tmp_path)] == ["done", "done"]


def test_labels_come_back_in_the_scan_s_own_geometry(quick_export, scan, tmp_path):
    turned = nib.Nifti1Image(np.ascontiguousarray(scan.voxels[::-1].transpose(2, 0, 1)).astype(np.float32), np.eye(4))
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (scan.voxels.shape[0] - 1)
    affine[:3, 0] *= -1
    turned = nib.Nifti1Image(turned.get_fdata(dtype=np.float32), affine[:, [2, 0, 1, 3]])
    turned.set_sform(turned.affine, code=2)
    turned.set_qform(turned.affine, code=3)
    nib.save(turned, tmp_path / "head first.nii.gz")
    assert predict(quick_export, tmp_path / "head first.nii.gz", tmp_path / "out", overlay=False) == 0
    labels = nib.load(tmp_path / "out" / "prediction_head first.nii.gz")
    assert labels.shape == turned.shape
    np.testing.assert_array_equal(labels.affine, nib.load(tmp_path / "head first.nii.gz").affine)
    assert (int(labels.header["sform_code"]), int(labels.header["qform_code"])) == (2, 3)
    kidney = np.asarray(labels.dataobj) > 0
    inside = turned.get_fdata() > 50
    assert 2 * (kidney & inside).sum() / (kidney.sum() + inside.sum()) > 0.9


def test_a_bad_case_fails_in_one_line_and_the_others_continue(quick_export, scan, study, tmp_path, capsys):
    folder = tmp_path / "scans"
    write_volume(folder / "good.nii.gz", scan)
    holes = scan.voxels.astype(np.float32)
    holes[0, 0, 0] = np.nan
    write_volume(folder / "holes.nii.gz", scan.with_voxels(holes))
    (folder / "text.nii.gz").write_text("no scan at all")
    assert predict(quick_export, folder, tmp_path / "out", overlay=False) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed:")]
    assert len(told) == 2
    assert "holes.nii.gz" in told[0] and "NaN" in told[0]
    assert "text.nii.gz" in told[1]
    assert [row["status"] for row in rows(tmp_path / "out")] == ["done", "failed", "failed"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "prediction_good.nii.gz", "prediction_good.json", "summary.csv", "findings.csv", own.LIST}


@pytest.mark.parametrize("shape", [(1, 40, 40), (29, 30, 50)])
@pytest.mark.parametrize("fill", [-1024, 100])
def test_degenerate_scans_get_empty_or_whole_labels_and_a_picture(quick_export, tmp_path, shape, fill):
    write_volume(tmp_path / "flat.nii.gz", Volume.from_spacing(np.full(shape, fill, np.int16), (5, 2, 2)))
    assert predict(quick_export, tmp_path / "flat.nii.gz", tmp_path / "out") == 0
    labels = nib.load(tmp_path / "out" / "prediction_flat.nii.gz")
    assert labels.shape == shape
    assert (tmp_path / "out" / "prediction_flat.png").stat().st_size > 0
    assert set(np.unique(labels.dataobj)) == {int(fill > 0)}


def test_two_scans_of_one_name_are_refused_before_anything_is_written(quick_export, scan, tmp_path):
    write_volume(tmp_path / "in" / "case_00001.nii.gz", scan)
    write_volume(tmp_path / "in" / "00001.nii", scan)
    with pytest.raises(InputError, match="prediction_00001"):
        predict(quick_export, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("scans", "told"), [("nowhere", "no such file"), ("empty", "contains no scan")])
def test_nothing_to_predict_is_one_line(quick_export, tmp_path, scans, told):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=told):
        predict(quick_export, tmp_path / scans, tmp_path / "out")


def test_the_command_builds_no_net(quick_export, study, tmp_path):
    """Runs in a separate process, in which the code that builds networks cannot be imported."""
    program = ("import sys; sys.modules['kits_tf.models'] = None; sys.modules['kits_tf.training'] = None; "
               "from kits_tf.serving.__main__ import run; run()")
    command = [sys.executable, "-c", program, f"--model={quick_export}", f"--input={study}", f"--output={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in rows(tmp_path)] == ["done", "done"]


@pytest.mark.parametrize("flag", ["--model=nowhere", "--input=nowhere"])
def test_a_mistyped_path_is_one_line_and_status_1(quick_export, study, tmp_path, flag):
    given = {"--model": quick_export, "--input": study, "--output": tmp_path, **dict([flag.split("=")])}
    done = commands.run("predict.py", *(f"{name}={value}" for name, value in given.items()))
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if "nowhere" in line]
    assert len(told) == 1
    assert "Traceback" not in done.stderr


def peak_gib(*command):
    """Returns the peak resident memory of a successful command, without its children, in GiB.

    A small process starts the command and measures it, because Linux counts the parent's memory as the command's.
    """
    program = ("import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
               "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)")
    done = subprocess.run([sys.executable, "-c", program, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                          check=True)
    return int(done.stdout.split()[-1]) / 2**20


@pytest.mark.soak
@pytest.mark.parametrize(("slices", "slice_mm", "most_gib"), [(108, 5.0, 2.5), (1059, 0.5, 4.0)])
def test_memory_stays_bounded(tmp_path, figure, slices, slice_mm, most_gib):
    """Uses the paper's networks; noise cannot be compressed; two kidneys and a tumor make every network run."""
    subprocess.run([sys.executable, "-m", "benchmarks.untrained", "--preset=paper", f"--output={tmp_path / 'export'}"],
                   cwd=ROOT, check=True)
    voxels = np.random.default_rng(0).integers(-110, -50, (slices, 512, 512), np.int16)
    for (first, last), y, x, more in (((0.38, 0.60), (200, 300), (100, 200), 180),
                                      ((0.40, 0.62), (210, 310), (320, 410), 180),
                                      ((0.47, 0.53), (220, 260), (120, 160), 100)):
        voxels[int(slices * first):int(slices * last), slice(*y), slice(*x)] += more
    write_volume(tmp_path / "long.nii.gz", Volume.from_spacing(voxels, (slice_mm, 0.8, 0.8)))
    peak = peak_gib(sys.executable, "predict.py", f"--model={tmp_path / 'export'}",
                    f"--input={tmp_path / 'long.nii.gz'}", f"--output={tmp_path / 'out'}")
    figure(f"{slices} x 512 x 512: peak {peak:.2f} GiB")
    assert peak <= most_gib
    report = json.loads((tmp_path / "out" / "prediction_long.json").read_text())
    assert report["kidneys"] == 2 and report["tumor_ml"] > 0
