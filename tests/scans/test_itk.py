"""Tests NRRD and MetaImage voxel by voxel against SimpleITK and nibabel, on phantoms without any symmetry."""

import re
import sys

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from kits_tf.errors import InputError
from kits_tf.scans import formats, itk, nifti
from kits_tf.scans.discovery import Case
from kits_tf.volume import Volume, apart_mm

SIZE = (5, 4, 3)  # i, j, k
ENDINGS = ("nrrd", "nhdr", "mha", "mhd")
TURN = np.radians(20)
DIRECTIONS = {
    "axial": np.eye(3),
    "flipped": np.diag([-1.0, 1.0, -1.0]),
    "permuted": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    "oblique": np.array([[np.cos(TURN), 0, np.sin(TURN)], [0, 1, 0], [-np.sin(TURN), 0, np.cos(TURN)]]),
}


def image_of(direction=None, dtype=np.int16):
    """Returns a SimpleITK image in which every voxel is another number."""
    image = SimpleITK.GetImageFromArray((np.arange(60).reshape(SIZE[::-1]) * 7 - 200).astype(dtype))
    image.SetSpacing((0.7, 1.1, 2.3))
    image.SetOrigin((-20.5, 35.25, 107.0))
    image.SetDirection((np.eye(3) if direction is None else direction).ravel().tolist())
    return image


def values_at(volume, image):
    """Checks that each voxel of an image has the same value at the same place in a Volume; returns how many."""
    back = np.linalg.inv(volume.affine)
    for index in np.ndindex(image.GetSize()):
        x, y, z = image.TransformIndexToPhysicalPoint([int(value) for value in index])
        place = back @ (-x, -y, z, 1)
        np.testing.assert_allclose(place[:3], np.rint(place[:3]), atol=1e-6)
        assert volume.voxels[tuple(np.rint(place[:3]).astype(int))] == image.GetPixel(*index)
    return image.GetNumberOfPixels()


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_a_series_of_one_volume_is_that_volume(ending, tmp_path):
    image = image_of(DIRECTIONS["permuted"])
    series = SimpleITK.JoinSeries([image])
    direction = np.eye(4)
    direction[:3, :3] = DIRECTIONS["permuted"]
    series.SetDirection(direction.ravel().tolist())
    SimpleITK.WriteImage(series, str(tmp_path / f"series.{ending}"))
    found = itk.read_volume(tmp_path / f"series.{ending}")
    assert values_at(found, image) == 60
    itk.write_labels(tmp_path / f"labels.{ending}", (found.voxels > 0).astype(np.uint8), tmp_path / f"series.{ending}")
    labels = SimpleITK.ReadImage(str(tmp_path / f"labels.{ending}"))
    assert (labels.GetSize(), labels.GetSpacing(), labels.GetOrigin(), labels.GetDirection()) == (
        image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_voxel_lies_where_simpleitk_and_nibabel_say(ending, direction, tmp_path):
    image = image_of(DIRECTIONS[direction])
    for name in (f"scan.{ending}", "scan.nii.gz"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
    found = itk.read_volume(tmp_path / f"scan.{ending}")
    assert values_at(found, image) == 60 and found.voxels.dtype == np.int16 and found.warnings == ()
    expected = nifti.read_volume(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(found.voxels, expected.voxels)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)
    shape, affine = itk.read_stored_geometry(tmp_path / f"scan.{ending}")
    by_nibabel = nib.load(tmp_path / "scan.nii.gz")
    assert shape == by_nibabel.shape == SIZE
    np.testing.assert_allclose(affine, by_nibabel.affine, atol=1e-4)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("scan", "written"), [
    ("nrrd", "nrrd"), ("nhdr", "nrrd"), ("mha", "mha"), ("mhd", "nrrd"), ("nrrd", "nii.gz"), ("mha", "nii.gz"),
    ("nii.gz", "nrrd"), ("nii.gz", "mha")])
def test_labels_have_the_scans_own_axes_and_places_in_any_format(scan, written, direction, tmp_path):
    image = image_of(DIRECTIONS[direction])
    SimpleITK.WriteImage(image, str(tmp_path / f"scan.{scan}"))
    case = Case("scan", tmp_path / f"scan.{scan}")
    volume, _ = formats.read_scan(case)
    labels = volume.with_voxels(np.uint8(volume.voxels % 3))
    formats.write_labels(tmp_path / f"labels.{written}", labels, case)
    by_itk = SimpleITK.ReadImage(str(tmp_path / f"labels.{written}"))
    assert by_itk.GetPixelID() == SimpleITK.sitkUInt8 and by_itk.GetSize() == SIZE
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(by_itk), SimpleITK.GetArrayFromImage(image) % 3)
    exact = "nii.gz" not in (scan, written)  # NIfTI headers hold float32
    for field in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(by_itk, field)(), getattr(image, field)(), rtol=0,
                                   atol=1e-15 if exact else 1e-5)
    again, _ = formats.read_labels(tmp_path / f"labels.{written}")
    np.testing.assert_array_equal(again.voxels, labels.voxels)
    assert apart_mm(again, labels) < 1e-4


def test_labels_of_a_canonical_volume_come_back_as_they_were(tmp_path):
    """As of a DICOM series, which has no axis order of its own."""
    volume = Volume.from_spacing(np.arange(60, dtype=np.uint8).reshape(3, 4, 5) % 3, (2.0, 1.5, 0.8))
    formats.write_labels(tmp_path / "labels.nrrd", volume, Case("a", tmp_path, files=(tmp_path / "IM0",)))
    again = itk.read_labels(tmp_path / "labels.nrrd")
    np.testing.assert_array_equal(again.voxels, volume.voxels)
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-12)


@pytest.mark.parametrize(("dtype", "read"), [(np.float64, np.int16), (np.uint8, np.int16), (np.float32, np.int16)])
def test_whole_numbers_of_any_type_are_int16_and_fractions_float32(dtype, read, tmp_path):
    SimpleITK.WriteImage(image_of(dtype=dtype), str(tmp_path / "whole.nrrd"))
    assert itk.read_volume(tmp_path / "whole.nrrd").voxels.dtype == read
    SimpleITK.WriteImage(image_of(dtype=np.float32) * 0.5, str(tmp_path / "half.mha"))
    half = itk.read_volume(tmp_path / "half.mha").voxels
    assert half.dtype == np.float32 and 0.5 in half % 1


def test_labels_may_be_floats_near_whole_numbers_as_in_nifti(tmp_path):
    values = np.zeros(SIZE[::-1], np.float32)
    values[1, 2, 3], values[0, 1, 1] = 1.0000001, 2.004
    for name in ("a.nrrd", "a.nii.gz"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(tmp_path / name))
        assert sorted(np.unique(formats.read_labels(tmp_path / name)[0].voxels)) == [0, 1, 2]
    values[0, 0, 0] = 0.4
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(tmp_path / "b.nrrd"))
    with pytest.raises(InputError, match=r"holds label 0\.4, expected only 0, 1, 2"):
        itk.read_labels(tmp_path / "b.nrrd")


def _cut(path):
    SimpleITK.WriteImage(image_of(), str(path), useCompression=path.suffix == ".nrrd")
    path.write_bytes(path.read_bytes()[:-20])


def _detached(line):
    def make(path):
        SimpleITK.WriteImage(image_of(), str(path))
        name = path.with_suffix(".raw").name.encode()
        path.write_bytes(path.read_bytes().replace(name, line))
    return make


def _filled(value):
    def make(path):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.full(SIZE[::-1], value, np.float32)), str(path))
    return make


def _huge(path):
    path.write_bytes(b"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 30000 30000 30000\n"
                     b"space directions: (1,0,0) (0,1,0) (0,0,1)\nencoding: raw\nendian: little\n\n" + bytes(99))


def _nrrd(*lines):
    text = "\n".join(["NRRD0004", "type: short", "dimension: 3", "sizes: 5 4 3", "encoding: raw", "endian: little",
                      *lines])
    return lambda path: path.write_bytes(text.encode() + b"\n\n" + bytes(120))


def _meta(*lines):
    text = "\n".join(["ObjectType = Image", "NDims = 3", "DimSize = 5 4 3", "ElementType = MET_SHORT", *lines,
                      "ElementDataFile = LOCAL\n"])
    return lambda path: path.write_bytes(text.encode() + bytes(120))


REFUSED = {
    "unspaced.nrrd": (_nrrd(), "does not give the voxel spacing of all axes"),
    "unknown.nrrd": (_nrrd("spacings: 1 1 nan"), "does not give the voxel spacing of all axes"),
    "list.nrrd": (_nrrd("space: left-posterior-superior", "space directions: none (0,1,0) (0,0,1)"),
                  "does not give the voxel spacing of all axes"),
    "unspaced.mha": (_meta(), "does not give the voxel spacing of all axes"),
    "scaled.mha": (_meta("ElementSpacing = 1 1 2", "ElementToIntensityFunctionSlope = 2"), "scales the values"),
    "raised.mha": (_meta("ElementSpacing = 1 1 2", "ElementToIntensityFunctionOffset = -1024"), "scales the values"),
    "missing.nrrd": (lambda path: None, "no such file"),
    "folder.mha": (lambda path: path.mkdir(), "is a folder"),
    "text.nrrd": (lambda path: path.write_text("hello"), "cannot be read as Nrrd"),
    "text.mha": (lambda path: path.write_text("hello"), "cannot be read as Meta"),
    "empty.mhd": (lambda path: path.write_bytes(b""), "cannot be read as Meta"),
    "cut.mha": (_cut, "its voxels cannot be read .*is the file whole"),
    "cut.nrrd": (_cut, "its voxels cannot be read .*is the file whole"),
    "alone.mhd": (_detached(b"gone.raw"), "its voxels are in gone.raw, which is missing"),
    "else.mhd": (_detached(b"/etc/passwd"), "keeps its voxels in '/etc/passwd', expected one file beside it"),
    "else.nhdr": (_detached(b"../x.raw"), "keeps its voxels in '../x.raw', expected one file beside it"),
    "many.mhd": (_detached(b"slice%03d.raw 1 3 1"), "expected one file beside it"),
    "2d.mha": (lambda path: SimpleITK.WriteImage(image_of()[:, :, 1], str(path)), r"shape \(5, 4\)"),
    "4d.nrrd": (lambda path: SimpleITK.WriteImage(SimpleITK.JoinSeries([image_of()] * 2), str(path)),
                r"shape \(5, 4, 3, 2\)"),
    "colors.nrrd": (lambda path: SimpleITK.WriteImage(SimpleITK.Compose([image_of()] * 3), str(path)),
                     r"shape \(5, 4, 3, 3\), expected one 3D volume with one number per voxel"),
    "nan.mha": (_filled(np.nan), "20 voxels are NaN or infinite"),
    "huge.nrrd": (_huge, "claims 30000 x 30000 x 30000 voxels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_refused_in_one_line_and_nothing_else_is_printed(name, tmp_path, capfd):
    make, said = REFUSED[name]
    make(tmp_path / name)
    with pytest.raises(InputError, match=said) as caught:
        itk.read_volume(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ") and str(caught.value).isprintable()
    assert capfd.readouterr() == ("", "")


def test_a_scale_that_changes_nothing_is_read(tmp_path):
    _meta("ElementSpacing = 1 1 2", "ElementToIntensityFunctionSlope = 1", "ElementToIntensityFunctionOffset = 0.0")(
        tmp_path / "plain.mha")
    assert itk.read_volume(tmp_path / "plain.mha").spacing_mm == (2.0, 1.0, 1.0)


def test_a_header_without_orientation_is_warned_of(tmp_path):
    (tmp_path / "plain.nrrd").write_bytes(b"NRRD0001\ntype: short\ndimension: 3\nsizes: 5 4 3\nspacings: 1 1 2\n"
                                          b"encoding: raw\nendian: little\n\n" + bytes(120))
    assert re.search("does not say how the scan lies", itk.read_volume(tmp_path / "plain.nrrd").warnings[0])


def test_both_files_of_a_scan_count_when_it_has_changed(tmp_path):
    for ending in ("nhdr", "mhd"):
        SimpleITK.WriteImage(image_of(), str(tmp_path / f"scan.{ending}"))
    for ending in ("nhdr", "mhd"):
        case = Case("scan", tmp_path / f"scan.{ending}")
        before = formats.facts_of(case)
        raw = tmp_path / "scan.raw"
        raw.write_bytes(bytes([raw.read_bytes()[0] ^ 1]) + raw.read_bytes()[1:])
        assert formats.facts_of(case) != before


def test_without_simpleitk_one_line_names_it(tmp_path, monkeypatch):
    SimpleITK.WriteImage(image_of(), str(tmp_path / "scan.nrrd"))
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(InputError) as caught:
        itk.read_volume(tmp_path / "scan.nrrd")
    assert str(caught.value) == (f"{tmp_path}/scan.nrrd: NRRD and MetaImage are read and written by SimpleITK, which "
                                 f'is not installed: pip install "SimpleITK>=2.3,<3"')
