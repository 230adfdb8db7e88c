"""DICOM series against SimpleITK, their faults by name, and segmentations read back."""

import shutil

import highdicom as hd
import numpy as np
import pytest
import SimpleITK
from dicom_series import slices_of, write_series

from kits_tf.io.dicom import read_series, write_segmentation
from kits_tf.io.nifti import read_volume
from kits_tf.io.study import find_scans
from kits_tf.volume import InputError

SPACING_MM = (3.0, 0.8, 0.9)
TURNED = np.radians(7)


def scan():
    return np.random.default_rng(0).integers(-1000, 1500, (6, 9, 11)).astype(np.int16)


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "scan", slices_of(scan(), SPACING_MM))


@pytest.mark.parametrize(("row", "column"), [
    ((1, 0, 0), (0, 1, 0)),  # axial, as most scanners write it
    ((1, 0, 0), (0, 0, -1)),  # coronal
    ((0, 1, 0), (0, 0, -1)),  # sagittal
    ((-1, 0, 0), (0, -1, 0)),  # prone
    ((np.cos(TURNED), np.sin(TURNED), 0), (-np.sin(TURNED), np.cos(TURNED), 0)),  # the patient lay askew
])
def test_a_series_is_the_volume_that_simpleitk_makes_of_it(tmp_path, row, column):
    folder = write_series(tmp_path / "scan", slices_of(scan(), SPACING_MM, row=row, column=column))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    SimpleITK.WriteImage(reader.Execute(), str(tmp_path / "by_sitk.nii.gz"))
    expected, (found, slices) = read_volume(tmp_path / "by_sitk.nii.gz"), read_series(folder)
    assert found.voxels.dtype == np.int16 and len(slices) == 6
    np.testing.assert_array_equal(found.voxels, expected.voxels)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)
    np.testing.assert_allclose(found.spacing_mm, expected.spacing_mm, atol=1e-4)


def test_a_zip_of_a_series_is_the_series(series, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", series)
    (found, _), (expected, _) = read_series(archive), read_series(series)
    np.testing.assert_array_equal(found.voxels, expected.voxels)


def test_a_zip_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read.me").write_text("nothing")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "notes")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InputError, match=r"packed\.zip: holds no DICOM image"):
        read_series(tmp_path / "packed.zip")
    with pytest.raises(InputError, match=r"broken\.zip: cannot be read as DICOM"):
        read_series(tmp_path / "broken.zip")


def test_series_are_found_as_folders_and_zips(series, tmp_path):
    shutil.make_archive(str(tmp_path / "packed"), "zip", series)
    assert [(case.name, case.imaging) for case in find_scans(series)] == [("scan", series)]
    assert [(case.name, case.imaging) for case in find_scans(tmp_path / "packed.zip")] == [
        ("packed", tmp_path / "packed.zip")]
    assert [case.name for case in find_scans(tmp_path)] == ["packed", "scan"]


def broken(name):
    """Slices of a series with one thing wrong."""
    slices = slices_of(scan(), SPACING_MM)
    if name == "missing":
        del slices[3]
    elif name == "doubled":
        slices += slices_of(scan()[2:3], SPACING_MM, origin_mm=(-20.0, -35.0, 106.0))
        slices[-1].SOPInstanceUID = slices[-1].file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.9"
    elif name == "mixed":
        slices += slices_of(scan(), SPACING_MM, series="2")
    elif name == "tilted":
        for number, dataset in enumerate(slices):
            dataset.ImagePositionPatient[1] += number * SPACING_MM[0] * np.tan(np.radians(12))
    elif name == "mri":
        for dataset in slices:
            dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    elif name == "localizer":
        slices[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    elif name == "no rescale":
        del slices[2].RescaleSlope
    elif name == "other size":
        slices[2].Rows, slices[2].Columns = slices[2].Columns, slices[2].Rows
    elif name == "other spacing":
        slices[4].PixelSpacing = [0.8, 0.95]
    elif name == "no position":
        del slices[1].ImagePositionPatient
    elif name == "cut":
        slices[1].PixelData = slices[1].PixelData[:50]
    return slices


@pytest.mark.parametrize(("name", "message"), [
    ("missing", "3.00 mm apart, but 6.00 mm between 106.0 and 112.0 mm; are some missing"),
    ("doubled", "two slices at 106.0 mm"),
    ("mixed", "holds 2 series (CT 1 'phase 1' with 6 files, CT 2 'phase 2' with 6 files)"),
    ("tilted", "gantry was tilted by 12.0 degrees"),
    ("mri", "MR Image Storage, expected CT"),
    ("localizer", "is a localizer"),
    ("no rescale", "no RescaleSlope"),
    ("other size", "has Rows"),
    ("other spacing", "has PixelSpacing"),
    ("no position", "ImagePositionPatient"),
    ("cut", "cannot be put together"),
])
def test_what_is_no_volume_is_refused_by_name(tmp_path, name, message):
    folder = write_series(tmp_path / "scan", broken(name))
    with pytest.raises(InputError) as error:
        read_series(folder)
    assert str(error.value).startswith(f"{folder}: ") and message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_dicom_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no DICOM image"):
        read_series(tmp_path)


@pytest.mark.parametrize("row", [(1, 0, 0), (np.cos(TURNED), np.sin(TURNED), 0)])
def test_a_segmentation_says_of_the_scans_own_voxels_what_the_labels_say(tmp_path, row):
    column = np.cross((0, 0, 1), row)
    folder = write_series(tmp_path / "scan", slices_of(scan(), SPACING_MM, row=row, column=column))
    volume, slices = read_series(folder)
    drawn = np.random.default_rng(1).choice(3, volume.voxels.shape, p=(0.7, 0.2, 0.1))
    labels = volume.with_voxels(drawn.astype(np.uint8))
    assert write_segmentation(tmp_path / "seg.dcm", labels, slices, "test 1")
    found = hd.seg.segread(tmp_path / "seg.dcm")
    assert [segment.SegmentLabel for segment in found.SegmentSequence] == ["kidney", "kidney tumor"]
    back = found.get_volume(combine_segments=True).to_patient_orientation("FPL")
    # Frames without a segment are left out; those that are there lie where the labels do.
    offset = np.rint(np.linalg.inv(volume.affine) @ np.diag([-1, -1, 1, 1]) @ back.affine)[:3, 3].astype(int)
    inside = tuple(slice(start, start + size) for start, size in zip(offset, back.array.shape, strict=True))
    np.testing.assert_array_equal(back.array, labels.voxels[inside])
    assert np.count_nonzero(labels.voxels) == np.count_nonzero(back.array)


def test_the_same_labels_give_the_same_bytes(series, tmp_path):
    volume, slices = read_series(series)
    labels = volume.with_voxels((volume.voxels > 1000).astype(np.uint8))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert write_segmentation(tmp_path / name / "seg.dcm", labels, slices, "test 1")
    assert (tmp_path / "one" / "seg.dcm").read_bytes() == (tmp_path / "two" / "seg.dcm").read_bytes()
    found = hd.seg.segread(tmp_path / "one" / "seg.dcm")
    assert [segment.SegmentLabel for segment in found.SegmentSequence] == ["kidney"]


def test_labels_with_nothing_in_them_make_no_segmentation(series, tmp_path):
    volume, slices = read_series(series)
    assert not write_segmentation(tmp_path / "seg.dcm", volume.with_voxels(np.zeros(volume.voxels.shape, np.uint8)),
                                  slices, "test 1")
    assert not (tmp_path / "seg.dcm").exists()
