"""Compares DICOM series with SimpleITK; tests errors of bad series, and reading segmentations back."""

import io
import shutil
import types
import zipfile
import zlib

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK
from harness.dicom_series import slices_of, write_series
from PIL import Image
from pydicom import uid

from kits_tf.errors import InputError
from kits_tf.scans import limits
from kits_tf.scans.dicom import read_series, write_segmentation
from kits_tf.scans.discovery import find_scans
from kits_tf.scans.nifti import read_volume
from kits_tf.scans.warnings import scan_doubts

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
    ((np.cos(TURNED), np.sin(TURNED), 0), (-np.sin(TURNED), np.cos(TURNED), 0)),  # an oblique patient
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
    ("doubled", "two slices at 106.0 mm"),
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
    slices = slices_of(scan(), SPACING_MM)
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
    for number, dataset in enumerate(slices_of(scan(), SPACING_MM)):
        (folder / f"IM{number:04d}").write_bytes(deflated(dataset))
    np.testing.assert_array_equal(read_series(folder)[0].voxels, read_series(series)[0].voxels)


def test_a_deflated_file_that_unpacks_to_more_than_a_slice_is_refused_before_it_is_unpacked(series, monkeypatch):
    bomb = slices_of(scan()[:1], SPACING_MM)[0]
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
    # Frames without a segment are omitted; the others lie at the position of the labels.
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


def file_of(dataset):
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def stored(folder, change):
    """Writes a series of six files, IM0000 to IM0005 in order of position; `change` spoils one of them."""
    folder.mkdir()
    for number, dataset in enumerate(slices_of(scan(), SPACING_MM)):
        (folder / f"IM{number:04d}").write_bytes(file_of(dataset))
    change(folder)
    return folder


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_series(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.isprintable()
    return message.removeprefix(f"{path}: ")


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
    dataset = slices_of(scan()[:1], SPACING_MM, series="7")[0]
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
    "Thumbs.db": lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0",
    "scan.nii": lambda: b"\\\1\0\0" + bytes(348),
}


def test_what_clearly_is_no_slice_is_passed_over(series, tmp_path):
    expected = read_series(series)[0].voxels
    for name, make in NO_SLICES.items():
        (series / name).write_bytes(make())
    found, slices = read_series(series)
    np.testing.assert_array_equal(found.voxels, expected)
    assert len(slices) == 6
    np.testing.assert_array_equal(read_series(shutil.make_archive(str(tmp_path / "packed"), "zip", series))[0].voxels,
                                  expected)


def test_a_segmentation_of_a_series_may_lie_in_its_folder(series):
    volume, slices = read_series(series)
    labels = volume.with_voxels((volume.voxels > 1000).astype(np.uint8))
    assert write_segmentation(series / "seg.dcm", labels, slices, "test 1")
    assert len(read_series(series)[1]) == 6


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
    assert refusal(write_series(tmp_path / "scan", slices_of(scan(), (3.0, pixels_mm, pixels_mm)))).startswith(said)


def test_length_is_bounded_as_a_nifti_file_s(tmp_path):
    folder = write_series(tmp_path / "scan", slices_of(np.zeros((40, 9, 11), np.int16), (90.0, 0.8, 0.9)))
    assert refusal(folder).startswith("is 3600 mm long")


def test_pixels_that_a_header_claims_are_bounded_before_they_are_decoded(tmp_path):
    slices = slices_of(scan(), (3.0, 0.02, 0.02))
    for dataset in slices:
        dataset.Rows = dataset.Columns = 60000
    assert refusal(write_series(tmp_path / "scan", slices)).startswith("its header claims 6 x 60000 x 60000 voxels")


@pytest.mark.parametrize(("between", "thickness", "expected", "field"), [
    ("2.5", "3", 2.5, "SpacingBetweenSlices"), (None, "3", 3.0, "SliceThickness"), ("0", "3", 3.0, "SliceThickness")])
def test_a_single_slice_is_as_thick_as_it_says_and_says_so(tmp_path, between, thickness, expected, field):
    single = slices_of(scan()[:1], SPACING_MM)
    single[0].SliceThickness = thickness
    if between is not None:
        single[0].SpacingBetweenSlices = between
    volume, slices = read_series(write_series(tmp_path / "scan", single))
    assert volume.spacing_mm == (expected, 0.8, 0.9)
    assert volume.doubts == (f"It is a single slice; its thickness of {expected:g} mm is that of its {field}.",)
    assert volume.doubts[0] in scan_doubts(volume, SPACING_MM)
    np.testing.assert_array_equal(volume.voxels, scan()[:1])
    assert write_segmentation(tmp_path / "seg.dcm", volume.with_voxels(np.ones((1, 9, 11), np.uint8)), slices, "test 1")


def test_a_single_slice_that_does_not_say_how_thick_it_is_is_refused(tmp_path):
    single = slices_of(scan()[:1], SPACING_MM)
    del single[0].SliceThickness
    assert refusal(write_series(tmp_path / "scan", single)) == (
        "IM0000 is a single slice and does not say how thick it is (no SpacingBetweenSlices or SliceThickness)")


@pytest.mark.parametrize("field", ["ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID",
                                   "ImagePositionPatient", "SOPClassUID"])
@pytest.mark.parametrize("all_slices", [True, False])
def test_what_is_missing_is_named(tmp_path, field, all_slices):
    slices = slices_of(scan(), SPACING_MM)
    for dataset in slices if all_slices else slices[2:3]:
        delattr(dataset, field)
    message = refusal(write_series(tmp_path / "scan", slices))
    assert f"has no {field}" in message and "None" not in message


def test_a_frame_of_reference_that_an_anonymizer_emptied_is_no_reason_to_refuse(series, tmp_path):
    slices = slices_of(scan(), SPACING_MM)
    for dataset in slices:
        dataset.FrameOfReferenceUID = ""
    np.testing.assert_array_equal(read_series(write_series(tmp_path / "emptied", slices))[0].voxels,
                                  read_series(series)[0].voxels)


@pytest.mark.filterwarnings("ignore:::pydicom")
def test_values_with_line_breaks_stay_in_one_line(tmp_path):
    def spoil(folder):
        path = folder / "IM0002"
        path.write_bytes(path.read_bytes().replace(b"1.2.826.0.4\0", b"1.2\n826\r\n.4\0"))
    assert "IM0002 has FrameOfReferenceUID 1.2 826 .4 and IM0000" in refusal(stored(tmp_path / "scan", spoil))


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless, uid.DeflatedExplicitVRLittleEndian,
                                    uid.ImplicitVRLittleEndian])
def test_compressed_slices_are_the_same_volume(series, tmp_path, syntax):
    slices = slices_of(scan(), SPACING_MM)
    for dataset in slices:
        if syntax.is_encapsulated:
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(read_series(write_series(tmp_path / "packed", slices))[0].voxels,
                                  read_series(series)[0].voxels)


def test_jpeg_2000_is_read(series, tmp_path):
    slices = slices_of(scan(), SPACING_MM)
    for dataset, plane in zip(slices, scan(), strict=True):
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
    slices = slices_of(scan(), SPACING_MM)
    for dataset in slices:
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + bytes(98)])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
    assert refusal(write_series(tmp_path / "scan", slices)) == (
        f"IM0000 is compressed as {name}, which cannot be read here; convert the series with dcmdjpeg or gdcmconv "
        "--raw, or pip install pylibjpeg pylibjpeg-libjpeg")


def decoders_without_plugins(syntax):
    """Returns pydicom's decoders as on a machine without decoder plugins."""
    return types.SimpleNamespace(is_available=False, syntax=pydicom.pixels.get_decoder(syntax))


@pytest.mark.filterwarnings("ignore:::pydicom")
def test_bytes_changed_at_random_give_a_volume_or_one_line_of_ours(tmp_path):
    random = np.random.default_rng(0)
    files = [file_of(dataset) for dataset in slices_of(scan()[:3], SPACING_MM)]
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
