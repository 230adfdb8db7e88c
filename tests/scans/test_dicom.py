"""Compares DICOM series with SimpleITK; tests errors of bad series, and reading segmentations back."""

import io
import shutil
import types
import zipfile
import zlib

import numpy as np
import pydicom
import pytest
import SimpleITK
from harness.dicom_series import (
    ANONYMIZERS,
    IDENTIFYING,
    SPACING_MM,
    random_scan,
    raw,
    refusal,
    slices_of,
    write_series,
)
from PIL import Image
from pydicom import uid

from kits_tf.errors import InputError
from kits_tf.scans import limits
from kits_tf.scans.dicom import read_series
from kits_tf.scans.discovery import find_scans
from kits_tf.scans.nifti import read_volume
from kits_tf.scans.segmentation import write_segmentation
from kits_tf.scans.warnings import scan_warnings
from kits_tf.volume import apart_mm

TURNED = np.radians(7)


@pytest.mark.parametrize(("row", "column"), [
    ((1, 0, 0), (0, 1, 0)),  # axial, as most scanners write it
    ((1, 0, 0), (0, 0, -1)),  # coronal
    ((0, 1, 0), (0, 0, -1)),  # sagittal
    ((-1, 0, 0), (0, -1, 0)),  # prone
    ((np.cos(TURNED), np.sin(TURNED), 0), (-np.sin(TURNED), np.cos(TURNED), 0)),  # an oblique patient
])
def test_a_series_is_the_volume_that_simpleitk_makes_of_it(tmp_path, row, column):
    folder = write_series(tmp_path / "scan", slices_of(random_scan(), SPACING_MM, row=row, column=column))
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
    with pytest.raises(InputError, match=r"packed\.zip: contains no DICOM image"):
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
    """Returns the slices of a series with one fault."""
    slices = slices_of(random_scan(), SPACING_MM)
    if name == "missing":
        del slices[3]
    elif name == "doubled":
        slices += slices_of(random_scan()[2:3], SPACING_MM, origin_mm=(-20.0, -35.0, 106.0))
        slices[-1].SOPInstanceUID = slices[-1].file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.9"
    elif name == "mixed":
        slices += slices_of(random_scan(), SPACING_MM, series="2")
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
    elif name == "empty intercept":
        slices[2].RescaleIntercept = ""
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
    ("doubled", "two slices at 106.0 mm (IM0000 and IM0003)"),
    ("mixed", "holds 2 series (CT 1 'phase 1' with 6 files, CT 2 'phase 2' with 6 files)"),
    ("tilted", "gantry was tilted by 12.0 degrees"),
    ("mri", "MR Image Storage, expected CT"),
    ("localizer", "is a localizer"),
    ("no rescale", "no RescaleSlope"),
    ("empty intercept", "no RescaleIntercept"),
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


@pytest.mark.parametrize("field", ["PixelSpacing", "ImageOrientationPatient"])
def test_slices_that_differ_by_rounding_are_one_stack(series, tmp_path, field):
    slices = slices_of(random_scan(), SPACING_MM)
    setattr(slices[3], field, [float(value) + 1e-6 for value in getattr(slices[3], field)])
    volume, _ = read_series(write_series(tmp_path / "rounded", slices))
    expected, _ = read_series(series)
    np.testing.assert_array_equal(volume.voxels, expected.voxels)
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-4)


def deflated(dataset):
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    return file_of(dataset)


def test_a_deflated_series_is_read(series, tmp_path):
    folder = tmp_path / "deflated"
    folder.mkdir()
    for number, dataset in enumerate(slices_of(random_scan(), SPACING_MM)):
        (folder / f"IM{number:04d}").write_bytes(deflated(dataset))
    np.testing.assert_array_equal(read_series(folder)[0].voxels, read_series(series)[0].voxels)


def test_a_deflated_file_that_unpacks_to_more_than_a_slice_is_refused_before_it_is_unpacked(series, monkeypatch):
    bomb = slices_of(random_scan()[:1], SPACING_MM)[0]
    bomb.PixelData = bytes(2**27)
    (series / "bomb").write_bytes(deflated(bomb))
    monkeypatch.setattr(zlib, "decompress", lambda *_: pytest.fail("unpacked at once"))  # as pydicom does
    assert refusal(series) == "bomb unpacks to more than 64 MiB, as no slice does"


def test_a_zip_that_unpacks_to_far_more_than_itself_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LARGE_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("IM0000", bytes(128) + b"DICM" + bytes(2**21))
    assert refusal(tmp_path / "bomb.zip").endswith("times its size, as no series does; is it a zip bomb?")


def test_a_folder_without_dicom_is_refused(tmp_path):
    with pytest.raises(InputError, match="contains no DICOM image"):
        read_series(tmp_path)


def file_of(dataset):
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def stored(folder, change):
    """Writes a series of six files, IM0000 to IM0005 in order of position; `change` spoils one of them."""
    folder.mkdir()
    for number, dataset in enumerate(slices_of(random_scan(), SPACING_MM)):
        (folder / f"IM{number:04d}").write_bytes(file_of(dataset))
    change(folder)
    return folder


DAMAGES = {
    "empty": (lambda raw: b"", "is empty; copy it again"),
    "cut before its mark": (lambda raw: raw[:100], "does not say that it is DICOM"),
    "cut after its mark": (lambda raw: raw[:132], "has no pixels (and no SOPClassUID)"),
    "cut in its meta header": (lambda raw: raw[:160], "has no pixels (and no SOPClassUID)"),
    "cut in its header": (lambda raw: raw[:600], "has no pixels (CT Image Storage)"),
    "cut in its pixels": (lambda raw: raw[:-10], "cannot be put together (the pixels of"),
    "without its mark": (lambda raw: raw[:128] + b"DOCM" + raw[132:], "does not say that it is DICOM"),
    "a number that is none": (lambda raw: raw.replace(b"0.8\\0.9", b"0.8\\x.9"), "cannot be read as DICOM"),
}


@pytest.mark.parametrize("number", [0, 3, 5], ids=["first", "middle", "last"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_slice_is_refused_by_name_wherever_it_lies(tmp_path, damage, number):
    change, said = DAMAGES[damage]

    def spoil(folder):
        path = folder / f"IM{number:04d}"
        path.write_bytes(change(path.read_bytes()))
    folder = stored(tmp_path / "scan", spoil)
    message = refusal(folder)
    assert f"IM{number:04d}" in message and said in message
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    assert refusal(archive) == message


def object_of(class_uid):
    """Returns an object without pixels."""
    dataset = slices_of(random_scan()[:1], SPACING_MM, series="7")[0]
    del dataset.PixelData
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = class_uid
    return dataset


NO_SLICES = {
    "DICOMDIR": lambda: file_of(object_of(uid.MediaStorageDirectoryStorage)),
    "report": lambda: file_of(object_of(uid.ComprehensiveSRStorage)),
    "dose": lambda: file_of(object_of(uid.XRayRadiationDoseSRStorage)),
    "presentation": lambda: file_of(object_of(uid.GrayscaleSoftcopyPresentationStateStorage)),
    "segmentation": lambda: file_of(object_of(uid.SegmentationStorage)),
    "contours": lambda: file_of(object_of(uid.RTStructureSetStorage)),
    "README": lambda: b"Six slices.\n",
    "LIESMICH.txt": lambda: "Sechs Schichten für Müller.\r\n".encode("latin-1") * 9,
    ".DS_Store": lambda: b"\0\0\0\1Bud1\0",
    "._IM0000": lambda: b"\0\5\x16\7\0",
    "preview.png": lambda: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "viewer.exe": lambda: b"MZ\x90\0\3\0\0\0\4\0",
    "Thumbs.db": lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0",
    "scan.nii": lambda: b"\\\1\0\0" + bytes(348),
}


def test_what_clearly_is_no_slice_is_skipped(series, tmp_path):
    expected = read_series(series)[0].voxels
    for name, make in NO_SLICES.items():
        (series / name).write_bytes(make())
    found, slices = read_series(series)
    np.testing.assert_array_equal(found.voxels, expected)
    assert len(slices) == 6
    np.testing.assert_array_equal(read_series(shutil.make_archive(str(tmp_path / "packed"), "zip", series))[0].voxels,
                                  expected)


@pytest.mark.parametrize("class_uid", [uid.MRImageStorage, "1.2.3.4.5"])
def test_what_may_be_a_slice_and_has_no_pixels_is_refused(series, class_uid):
    (series / "other").write_bytes(file_of(object_of(class_uid)))
    assert refusal(series).startswith("other has no pixels")


@pytest.mark.parametrize(("pixels_mm", "said"), [
    (1000.0, "its voxel spacing is [3.0, 1000.0, 1000.0] mm, expected three positive numbers, 0.01 to 100"),
    (1e-5, "its voxel spacing is [3.0, 1e-05, 1e-05] mm"),
    (-0.8, "its voxel spacing is [3.0, -0.8, -0.8] mm"),
    (0.0, "its voxel spacing is [3.0, 0.0, 0.0] mm"),
])
def test_spacing_is_bounded_as_a_nifti_file_s(tmp_path, pixels_mm, said):
    folder = write_series(tmp_path / "scan", slices_of(random_scan(), (3.0, pixels_mm, pixels_mm)))
    assert refusal(folder).startswith(said)


def test_length_is_bounded_as_a_nifti_file_s(tmp_path):
    folder = write_series(tmp_path / "scan", slices_of(np.zeros((40, 9, 11), np.int16), (90.0, 0.8, 0.9)))
    assert refusal(folder).startswith("is 3600 mm long")


def test_pixels_that_a_header_claims_are_bounded_before_they_are_decoded(tmp_path):
    slices = slices_of(random_scan(), (3.0, 0.02, 0.02))
    for dataset in slices:
        dataset.Rows = dataset.Columns = 60000
    assert refusal(write_series(tmp_path / "scan", slices)).startswith("its header claims 6 x 60000 x 60000 voxels")


@pytest.mark.parametrize(("between", "thickness", "expected", "field"), [
    ("2.5", "3", 2.5, "SpacingBetweenSlices"), (None, "3", 3.0, "SliceThickness"), ("0", "3", 3.0, "SliceThickness")])
def test_a_single_slice_has_the_thickness_in_its_header_and_a_warning(tmp_path, between, thickness, expected, field):
    single = slices_of(random_scan()[:1], SPACING_MM)
    single[0].SliceThickness = thickness
    if between is not None:
        single[0].SpacingBetweenSlices = between
    volume, slices = read_series(write_series(tmp_path / "scan", single))
    assert volume.spacing_mm == (expected, 0.8, 0.9)
    assert volume.warnings == (f"It is a single slice; its thickness of {expected:g} mm is that of its {field}.",)
    assert volume.warnings[0] in scan_warnings(volume, SPACING_MM)
    np.testing.assert_array_equal(volume.voxels, random_scan()[:1])
    assert write_segmentation(tmp_path / "seg.dcm", volume.with_voxels(np.ones((1, 9, 11), np.uint8)), slices, "test 1")


def test_a_single_slice_that_does_not_say_how_thick_it_is_is_refused(tmp_path):
    single = slices_of(random_scan()[:1], SPACING_MM)
    del single[0].SliceThickness
    assert refusal(write_series(tmp_path / "scan", single)) == (
        "IM0000 is a single slice and does not say how thick it is (no SpacingBetweenSlices or SliceThickness)")


@pytest.mark.parametrize("field", ["ImageOrientationPatient", "PixelSpacing", "ImagePositionPatient", "Rows"])
@pytest.mark.parametrize("all_slices", [True, False])
def test_what_is_missing_is_named(tmp_path, field, all_slices):
    slices = slices_of(random_scan(), SPACING_MM)
    for dataset in slices if all_slices else slices[2:3]:
        delattr(dataset, field)
    message = refusal(write_series(tmp_path / "scan", slices))
    assert f"has no {field}" in message and "None" not in message


@pytest.mark.parametrize("text", [None, "", "REMOVED"])
@pytest.mark.parametrize("all_slices", [True, False])
def test_what_no_volume_needs_may_be_missing_empty_or_odd(series, tmp_path, text, all_slices):
    slices = slices_of(random_scan(), SPACING_MM)
    for dataset in slices if all_slices else slices[2:3]:
        for field in (*IDENTIFYING, "StudyInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality", "InstanceNumber",
                      *(["SeriesInstanceUID"] if all_slices else [])):
            if field == "FrameOfReferenceUID" and text and not all_slices:
                continue  # a second frame of reference is another matter
            if text is None and field in dataset:
                delattr(dataset, field)
            elif text is not None and not (text and field == "SOPClassUID"):
                raw(dataset, field, text)
    volume, _ = read_series(write_series(tmp_path / "odd", slices))
    np.testing.assert_array_equal(volume.voxels, read_series(series)[0].voxels)
    assert volume.warnings == ()


@pytest.mark.parametrize("anonymizer", ANONYMIZERS)
def test_anonymized_series_are_read_and_uids_per_file_are_warned_of(anonymizer, series, tmp_path):
    slices = slices_of(random_scan(), SPACING_MM)
    ANONYMIZERS[anonymizer](slices)
    volume, _ = read_series(write_series(tmp_path / "anonymized", slices))
    np.testing.assert_array_equal(volume.voxels, read_series(series)[0].voxels)
    assert len(volume.warnings) == ("per file" in anonymizer)
    assert [case.imaging.name for case in find_scans(tmp_path)] == ["anonymized", "scan"]


def at(places_mm, axis=2, **more):
    """Makes slices at these places along an axis, in mm, as their positions are written."""
    datasets = slices_of(np.repeat(random_scan()[:1], len(places_mm), axis=0), SPACING_MM, **more)
    for dataset, place in zip(datasets, places_mm, strict=True):
        dataset.ImagePositionPatient[axis] = place
    return datasets


@pytest.mark.parametrize(("spacing_mm", "decimals"), [
    (0.625, 1), (0.7, 1), (0.35, 1), (0.75, 1), (1.25, 1), (0.6, 2), (1.25, 0), (2.5, 0), (3.3, 0)])
@pytest.mark.parametrize("begin_mm", [0.0, -1017.3])
def test_slice_positions_may_be_rounded_and_a_missing_slice_still_shows(spacing_mm, decimals, begin_mm, tmp_path):
    places = np.round(begin_mm + spacing_mm * np.arange(40), decimals)
    volume, _ = read_series(write_series(tmp_path / "scan", at(places)))
    assert volume.spacing_mm[0] == pytest.approx(spacing_mm, abs=2 * 10.0**-decimals / 40)
    for missing in (1, 20, 38):
        message = refusal(write_series(tmp_path / str(missing), at(np.delete(places, missing))))
        assert "are some missing?" in message


def test_positions_of_whole_millimeters_hide_no_missing_slice(tmp_path):
    assert "1.00 mm apart, but 2.00 mm" in refusal(write_series(tmp_path / "a", at([0, 1, 2, 4, 5, 6, 7, 8])))
    assert "1.50 mm apart, but" in refusal(write_series(tmp_path / "b", at([0, 1, 3])))


def test_rounded_positions_of_an_oblique_series_are_one_stack(tmp_path):
    row, column = (np.cos(TURNED), 0, np.sin(TURNED)), (0, 1, 0)
    slices = slices_of(random_scan(), (0.625, 0.8, 0.9), row=row, column=column)
    exact, _ = read_series(write_series(tmp_path / "exact", slices))
    for dataset in slices:
        dataset.ImagePositionPatient = [round(float(mm), 1) for mm in dataset.ImagePositionPatient]
        dataset.ImageOrientationPatient = [round(float(value), 3) for value in dataset.ImageOrientationPatient]
    volume, slices = read_series(write_series(tmp_path / "rounded", slices))
    np.testing.assert_array_equal(volume.voxels, exact.voxels)
    assert apart_mm(volume, exact) < 0.2
    assert write_segmentation(tmp_path / "seg.dcm", volume.with_voxels(np.ones(volume.voxels.shape, np.uint8)), slices,
                              "test 1")


def test_spacing_that_drifts_is_no_rounding(tmp_path):
    places = np.cumsum(np.repeat([3.0, 3.14], 50))  # each step is within 5 percent of the others
    assert "3.14 mm apart, but 3.00 mm" in refusal(write_series(tmp_path / "scan", at(places)))


def test_a_slice_that_lies_beside_the_others_is_named(tmp_path):
    slices = slices_of(np.repeat(random_scan()[:1], 30, axis=0), SPACING_MM)
    slices[17].ImagePositionPatient[0] += 5
    folder = tmp_path / "scan"
    folder.mkdir()
    for number, dataset in enumerate(slices):
        (folder / f"IM{number:04d}").write_bytes(file_of(dataset))
    assert refusal(folder).startswith("IM0017 lies 4.8 mm beside the line through the other slices")


def without_preamble(dataset, with_meta):
    """Returns a file as some CDs hold it: without preamble and mark, often without the meta header as well."""
    if with_meta:
        return file_of(dataset)[132:]
    stream = io.BytesIO()
    dataset.save_as(stream, implicit_vr=True, little_endian=True)
    return stream.getvalue()


@pytest.mark.parametrize("with_meta", [True, False])
def test_files_without_preamble_or_ending_are_read(with_meta, series, tmp_path):
    folder = tmp_path / "plain" / "A"
    folder.mkdir(parents=True)
    for number, dataset in enumerate(slices_of(random_scan(), SPACING_MM)):
        if not with_meta:
            del dataset.file_meta
        (folder / f"{number:08d}").write_bytes(without_preamble(dataset, with_meta))
    np.testing.assert_array_equal(read_series(folder)[0].voxels, read_series(series)[0].voxels)
    assert [case.name for case in find_scans(tmp_path / "plain")] == ["A"]


def test_a_series_beside_localizers_and_other_modalities_is_read_with_a_warning(series, tmp_path):
    scout, mri = slices_of(random_scan()[:1], SPACING_MM, series="7"), slices_of(random_scan(), SPACING_MM, series="8")
    scout[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    for dataset in mri:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid.MRImageStorage
    expected = read_series(series)[0]
    for number, dataset in enumerate((*scout, *mri)):
        (series / f"other{number}").write_bytes(file_of(dataset))
    for path in (series, shutil.make_archive(str(tmp_path / "packed"), "zip", series)):
        volume, slices = read_series(path)
        np.testing.assert_array_equal(volume.voxels, expected.voxels)
        assert len(slices) == 6 and len(volume.warnings) == 1
        assert volume.warnings[0].startswith("Other series beside it, localizers or no CT, were left out: CT 7 'phase")


def test_many_series_in_a_zip_are_counted_and_a_few_named(tmp_path):
    folder = tmp_path / "many"
    for number in range(9):
        write_series(folder / str(number), slices_of(random_scan()[:1], SPACING_MM, series=str(number)))
    message = refusal(shutil.make_archive(str(tmp_path / "packed"), "zip", folder))
    assert message == ("holds 9 series (CT 0 'phase 0' with 1 file, CT 1 'phase 1' with 1 file, CT 2 'phase 2' with 1 "
                       "file and 6 more); give a folder with one of them, or unpack it and give that folder")
    assert refusal(folder).endswith("slices of one CT series; it has 9 series in 0, 1, 2 and 6 more: give one of these")


def test_the_files_of_a_viewer_in_a_zip_are_no_damaged_slices(series, tmp_path):
    with zipfile.ZipFile(tmp_path / "cd.zip", "w") as archive:
        for file in series.iterdir():
            archive.write(file, f"DICOM/S1/{file.name}")
        archive.writestr("VIEWER/run.exe", bytes(range(256)) * 9)
        archive.writestr("DICOMDIR", file_of(object_of(uid.MediaStorageDirectoryStorage)))
    np.testing.assert_array_equal(read_series(tmp_path / "cd.zip")[0].voxels, read_series(series)[0].voxels)


@pytest.mark.filterwarnings("ignore:::pydicom")
def test_values_with_line_breaks_stay_in_one_line(tmp_path):
    def spoil(folder):
        path = folder / "IM0002"
        path.write_bytes(path.read_bytes().replace(b"1.2.826.0.4\0", b"1.2\n826\r\n.4\0"))
    assert "IM0002 has FrameOfReferenceUID 1.2 826 .4 and IM0000" in refusal(stored(tmp_path / "scan", spoil))


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless, uid.DeflatedExplicitVRLittleEndian,
                                    uid.ImplicitVRLittleEndian])
def test_compressed_slices_are_the_same_volume(series, tmp_path, syntax):
    slices = slices_of(random_scan(), SPACING_MM)
    for dataset in slices:
        if syntax.is_encapsulated:
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(read_series(write_series(tmp_path / "packed", slices))[0].voxels,
                                  read_series(series)[0].voxels)


def test_jpeg_2000_is_read(series, tmp_path):
    slices = slices_of(random_scan(), SPACING_MM)
    for dataset, plane in zip(slices, random_scan(), strict=True):
        packed = io.BytesIO()
        Image.fromarray((plane + 1024).astype(np.uint16)).save(packed, "JPEG2000", irreversible=False, no_jp2=True)
        dataset.PixelData = pydicom.encaps.encapsulate([packed.getvalue()])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    np.testing.assert_array_equal(read_series(write_series(tmp_path / "packed", slices))[0].voxels,
                                  read_series(series)[0].voxels)


@pytest.mark.parametrize(("syntax", "name"), [
    (uid.JPEGLosslessSV1, "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])"),
    (uid.MPEG2MPML, "MPEG2 Main Profile / Main Level")])
def test_a_compression_that_nothing_here_reads_is_refused_by_name(tmp_path, monkeypatch, syntax, name):
    monkeypatch.setattr("kits_tf.scans.dicom.get_decoder", decoders_without_plugins)
    slices = slices_of(random_scan(), SPACING_MM)
    for dataset in slices:
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + bytes(98)])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
    assert refusal(write_series(tmp_path / "scan", slices)) == (
        f"IM0000 is compressed as {name}, which cannot be read here; pip install \"python-gdcm>=3.0.24,<4\", or "
        "convert the series with dcmdjpeg or gdcmconv --raw")


def decoders_without_plugins(syntax):
    """Returns pydicom's decoders as on a machine without decoder plugins."""
    return types.SimpleNamespace(is_available=False, syntax=pydicom.pixels.get_decoder(syntax))


@pytest.mark.filterwarnings("ignore:::pydicom")
def test_bytes_changed_at_random_give_a_volume_or_one_line_of_ours(tmp_path):
    random = np.random.default_rng(0)
    files = [file_of(dataset) for dataset in slices_of(random_scan()[:3], SPACING_MM)]
    folder, read, refused = tmp_path / "scan", 0, []
    folder.mkdir()
    for _ in range(300):
        changed = [bytearray(raw) for raw in files]
        for _ in range(random.integers(1, 6)):
            raw = changed[random.integers(3)]
            raw[random.integers(128, len(raw) - 150)] = random.integers(256)
        for number, raw in enumerate(changed):
            (folder / f"IM{number:04d}").write_bytes(raw)
        try:
            volume, slices = read_series(folder)
            read += 1
            write_segmentation(tmp_path / "seg.dcm", volume.with_voxels(np.ones(volume.voxels.shape, np.uint8)), slices,
                               "test 1")
        except InputError as error:
            refused.append(str(error))
    assert read > 30 and len(refused) > 30
    for message in refused:
        assert message.isprintable()
        assert message.startswith((f"{folder}: ", "no DICOM segmentation can be made of the series"))
