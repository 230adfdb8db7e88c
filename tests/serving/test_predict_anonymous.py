"""Tests predict.py --anonymous: no output file identifies a patient."""

import base64
import gzip
import re

import nibabel as nib
import numpy as np
import pytest
from harness.dicom_series import slices_of, write_series
from harness.patients import HU
from harness.tables import read_rows

from kits_tf.errors import InputError
from kits_tf.reporting import overlay
from kits_tf.scans.nifti import read_labels, write_volume
from kits_tf.serving.__main__ import predict

NAMED = "Doe"  # in every name of the input and in the headers


@pytest.fixture
def scans(small_patient, tmp_path):
    """A NIfTI turned away from the canonical orientation, a DICOM series, a study's case with truth, a broken file."""
    folder = tmp_path / "of Doe"
    hu = HU[small_patient.voxels].astype(np.int16)
    image = nib.Nifti1Image(hu, small_patient.affine)
    image = image.as_reoriented(nib.orientations.axcodes2ornt(("L", "A", "S")))
    image.header["descrip"], image.header["db_name"] = b"John Doe, 1950-01-01", b"Doe"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"of John Doe"))
    folder.mkdir()
    nib.save(image, folder / "Doe John.nii.gz")
    series = slices_of(hu[::-1] + np.int16(1), small_patient.spacing_mm)
    for one in series:
        one.PatientName = "Doe^John"
    write_series(folder / "Doe series", series)
    (folder / "Doe broken.nii.gz").write_text("no scan of Doe")
    return folder


def content(folder):
    """Returns the name and the unpacked bytes of every file but the viewer's library, which is the same for all."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".js":
            found[path.name] = unpacked(path.read_bytes()) if path.suffix == ".gz" else re.sub(
                rb"[A-Za-z0-9+/]{200,}=*", lambda text: unpacked(base64.b64decode(text[0])), path.read_bytes())
    return found


def unpacked(data):
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def test_nothing_that_is_written_says_whose_scans_they_are(quick_export, scans, tmp_path, monkeypatch, capsys):
    titles, draw = [], overlay.draw_overlay
    monkeypatch.setattr(overlay, "draw_overlay", lambda *given: (titles.append(given[3]), draw(*given)))
    assert predict(quick_export, scans, tmp_path / "out", report=True, anonymous=True) == 1
    found = content(tmp_path / "out")
    assert len(found) == 2 * 4 + 4  # four files for each of two cases, three tables, the list
    assert [name for name, data in found.items() if NAMED.encode() in data or NAMED in name] == []
    assert len(titles) == 2 and not any(NAMED in title for title in titles)
    rows = read_rows(tmp_path / "out" / "summary.csv")
    assert sorted(row["status"] for row in rows) == ["done", "done", "failed"]
    assert "Doe broken.nii.gz" in capsys.readouterr().err  # the user at the terminal knows the names anyway
    assert predict(quick_export, scans, tmp_path / "out", report=True, anonymous=True) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("0 done, 2 unchanged, 1 failed")
    labels = {path.name: path for path in (tmp_path / "out").glob("*.nii.gz")}
    assert predict(quick_export, scans / "Doe John.nii.gz", tmp_path / "named") == 0
    named = tmp_path / "named" / "prediction_Doe John.nii.gz"
    alike = [path for path in labels.values() if np.array_equal(nib.load(path).affine, nib.load(named).affine)]
    assert len(alike) == 1 and np.array_equal(nib.load(alike[0]).dataobj, nib.load(named).dataobj)
    assert np.array_equal(read_labels(alike[0]).voxels, read_labels(named).voxels)


def test_ground_truth_that_does_not_fit_is_left_out_without_its_name(quick_export, small_patient, tmp_path):
    case = tmp_path / "Doe" / "case_00001"
    write_volume(case / "imaging.nii.gz", small_patient.with_voxels(HU[small_patient.voxels]))
    (case / "segmentation.nii.gz").write_bytes(b"no labels of Doe")
    assert predict(quick_export, tmp_path / "Doe", tmp_path / "out", report=True, anonymous=True) == 0
    found = content(tmp_path / "out")
    assert any(b"The ground truth was not used." in data for data in found.values())
    assert [name for name, data in found.items() if NAMED.encode() in data or b"case_00001" in data] == []


def test_what_cannot_be_anonymous_is_refused(quick_export, scans, tmp_path):
    with pytest.raises(InputError, match="leave dicomseg out of --output_format"):
        predict(quick_export, scans, tmp_path / "out", formats=("dicomseg",), anonymous=True)
    (scans / "Doe again.nii.gz").write_bytes((scans / "Doe John.nii.gz").read_bytes())
    with pytest.raises(InputError, match=r"Doe again\.nii\.gz are the same scan"):
        predict(quick_export, scans, tmp_path / "out", anonymous=True)
    assert not (tmp_path / "out").exists()
