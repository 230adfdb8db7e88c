"""Tests reading NIfTI to a canonical Volume and writing in the file's own geometry."""

import re

import nibabel as nib
import numpy as np
import pytest
from harness.bad_scans import HU, SHAPE, STRAIGHT, patched, save
from harness.geometries import CODES, affine_of, by_hand, tilted

from kits_tf.errors import InputError
from kits_tf.scans import nifti
from kits_tf.scans.nifti import read_labels, read_stored_geometry, read_volume, write_labels, write_volume
from kits_tf.volume import Volume


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("tilt", [None, tilted()], ids=["straight", "oblique"])
def test_any_orientation_is_read_canonical_and_labels_go_back_bit_for_bit(codes, tilt, tmp_path):
    affine = affine_of(codes, tilt=tilt)
    path = save(tmp_path / "scan.nii", HU, affine)
    volume = read_volume(path)
    assert nib.aff2axcodes(volume.affine) == ("I", "P", "L")
    assert np.array_equal(volume.voxels, by_hand(HU, codes))
    np.testing.assert_allclose(volume.spacing_mm, [
        (1.25, 3.0, 0.75)[axis] for axis in [next(a for a, c in enumerate(codes) if c in e) for e in ("IS", "PA", "LR")]
    ], atol=1e-4)
    shape, stored_affine = read_stored_geometry(path)
    assert shape == HU.shape
    np.testing.assert_allclose(stored_affine, affine, atol=1e-4)

    labels = (volume.voxels > 0).astype(np.uint8) + (volume.voxels > 1500)
    write_labels(tmp_path / "labels.nii", labels, like=path)
    written, source = nib.load(tmp_path / "labels.nii"), nib.load(path)
    assert np.array_equal(np.asarray(written.dataobj), (HU > 0).astype(np.uint8) + (HU > 1500))
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(written.affine, source.affine)
    assert np.array_equal(read_labels(tmp_path / "labels.nii").voxels, labels)


def test_kits19s_axis_order_is_read_as_it_lies(tmp_path):
    volume = Volume.from_spacing(HU, (5.0, 0.9, 0.8))
    write_volume(tmp_path / "imaging.nii.gz", volume)
    stored = nib.load(tmp_path / "imaging.nii.gz")
    assert np.array_equal(np.asarray(stored.dataobj), HU)
    assert stored.header.get_zooms() == pytest.approx((5.0, 0.9, 0.8))
    again = read_volume(tmp_path / "imaging.nii.gz")
    assert np.array_equal(again.voxels, HU)
    assert again.spacing_mm == (5.0, 0.9, 0.8)
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-6)


@pytest.mark.parametrize(("stored", "read"), [
    (np.int16, np.int16), (np.uint8, np.int16), (np.int8, np.int16), (np.int32, np.int16), (np.uint16, np.int16),
    (np.int64, np.int16), (">i2", np.int16), (np.float32, np.int16), (np.float64, np.int16), (">f4", np.int16)])
@pytest.mark.parametrize("fraction", [0, 0.5])
def test_a_number_type_is_read_without_loss(stored, read, fraction, tmp_path):
    values = (HU % 100 + fraction).astype(stored)
    if not np.array_equal(values, np.rint(values)):
        read = np.float32
    header = nib.Nifti1Header(endianness=">" if str(stored).startswith(">") else "<")
    header.set_data_dtype(np.dtype(stored))
    nib.save(nib.Nifti1Image(values, STRAIGHT, header), tmp_path / "scan.nii.gz")
    volume = read_volume(tmp_path / "scan.nii.gz")
    assert volume.voxels.dtype == read
    assert volume.voxels.dtype.isnative
    assert np.array_equal(volume.voxels, by_hand(values, "LAS"))


@pytest.mark.parametrize("value", [40000, -40000])
def test_integers_beyond_int16_are_read_as_float32(value, tmp_path):
    values = HU.astype(np.int32)
    values[0, 0, 0] = value
    volume = read_volume(save(tmp_path / "scan.nii", values))
    assert volume.voxels.dtype == np.float32
    assert np.array_equal(volume.voxels, by_hand(values, "LAS"))


def test_slope_and_intercept_are_applied(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_slope_inter(0.5, -1024)
    image = nib.Nifti1Image(HU / 2.0 - 1024, STRAIGHT, header)
    nib.save(image, tmp_path / "scan.nii.gz")
    stored = nib.load(tmp_path / "scan.nii.gz")
    assert stored.dataobj.slope != 1
    volume = read_volume(tmp_path / "scan.nii.gz")
    assert volume.voxels.dtype == np.float32
    np.testing.assert_allclose(volume.voxels, by_hand(HU / 2.0 - 1024, "LAS"), atol=0.05)
    write_labels(tmp_path / "labels.nii.gz", np.full(volume.voxels.shape, 2, np.uint8), tmp_path / "scan.nii.gz")
    assert set(read_labels(tmp_path / "labels.nii.gz").voxels.ravel()) == {2}  # not scaled by the slope of 0.5


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_a_slope_that_means_no_scaling_leaves_integers(slope, tmp_path):
    path = save(tmp_path / "scan.nii", HU)
    patched(path, "scl_slope", slope)
    patched(path, "scl_inter", 0.0)
    assert np.array_equal(read_volume(path).voxels, by_hand(HU, "LAS"))
    assert read_volume(path).voxels.dtype == np.int16


def test_a_fourth_axis_of_one_frame_is_dropped_and_restored(tmp_path):
    path = save(tmp_path / "scan.nii.gz", HU[..., np.newaxis])
    volume = read_volume(path)
    assert np.array_equal(volume.voxels, by_hand(HU, "LAS"))
    write_labels(tmp_path / "labels.nii.gz", (volume.voxels > 0).astype(np.uint8), like=path)
    written = np.asarray(nib.load(tmp_path / "labels.nii.gz").dataobj)
    assert np.array_equal(written, (HU > 0)[..., np.newaxis])


def test_nifti2_stays_nifti2_and_a_pair_becomes_one_file(tmp_path):
    nib.save(nib.Nifti2Image(HU, STRAIGHT), tmp_path / "two.nii.gz")
    nib.save(nib.Nifti1Pair(HU, STRAIGHT), tmp_path / "pair.hdr")
    for source, kind in (("two.nii.gz", nib.Nifti2Image), ("pair.hdr", nib.Nifti1Image)):
        volume = read_volume(tmp_path / source)
        assert np.array_equal(volume.voxels, by_hand(HU, "LAS"))
        write_labels(tmp_path / "labels.nii.gz", (volume.voxels > 0).astype(np.uint8), like=tmp_path / source)
        written = nib.load(tmp_path / "labels.nii.gz")
        assert type(written) is kind
        assert np.array_equal(np.asarray(written.dataobj), HU > 0)
        np.testing.assert_allclose(written.affine, STRAIGHT)


@pytest.mark.parametrize(("qform", "sform"), [(1, 1), (1, 2), (1, 0), (0, 2), (0, 0), (3, 4)])
def test_labels_keep_affine_qform_sform_and_their_codes(qform, sform, tmp_path):
    image = nib.Nifti1Image(HU, None)
    image.header.set_zooms((1.25, 3.0, 0.75))
    q_affine = affine_of("LAS", tilt=tilted())
    s_affine = affine_of("LAS", tilt=tilted((5, 4, -3)), origin=(1.0, 2.0, 3.0))
    image.header.set_qform(q_affine, qform)
    image.header.set_sform(s_affine, sform)
    nib.save(nib.Nifti1Image(HU, None, image.header), tmp_path / "scan.nii")
    source = nib.load(tmp_path / "scan.nii")
    assert (int(source.header["qform_code"]), int(source.header["sform_code"])) == (qform, sform)
    volume = read_volume(tmp_path / "scan.nii")
    np.testing.assert_allclose(volume.spacing_mm, (0.75, 3.0, 1.25), atol=1e-4)
    write_labels(tmp_path / "labels.nii.gz", (volume.voxels > 0).astype(np.uint8), like=tmp_path / "scan.nii")
    written = nib.load(tmp_path / "labels.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), HU > 0)
    np.testing.assert_array_equal(written.affine, source.affine)
    for field in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
                  "qoffset_z", "srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units", "dim"):
        assert np.array_equal(written.header[field], source.header[field]), field


def test_labels_of_a_big_endian_scan_are_read_back(tmp_path):
    nib.save(nib.Nifti1Image(HU.astype(">i2"), STRAIGHT, nib.Nifti1Header(endianness=">")), tmp_path / "scan.nii")
    volume = read_volume(tmp_path / "scan.nii")
    labels = (volume.voxels > 0).astype(np.uint8)
    write_labels(tmp_path / "labels.nii.gz", labels, like=tmp_path / "scan.nii")
    assert np.array_equal(read_labels(tmp_path / "labels.nii.gz").voxels, labels)


def test_labels_of_another_shape_are_refused_and_nothing_is_written(tmp_path):
    path = save(tmp_path / "scan.nii", HU)
    with pytest.raises(ValueError, match=r"\(3, 4, 5\)"):
        write_labels(tmp_path / "labels.nii.gz", np.zeros((5, 4, 4), np.uint8), like=path)
    assert [child.name for child in tmp_path.iterdir()] == ["scan.nii"]


@pytest.mark.parametrize("name", ["labels.nrrd", "labels", "labels.gz"])
def test_an_ending_that_is_not_nifti_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=name):
        write_volume(tmp_path / name, Volume.from_spacing(HU, (1.0, 1.0, 1.0)))
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_midway_leaves_no_file_and_keeps_the_old_one(tmp_path, monkeypatch):
    path = save(tmp_path / "scan.nii", HU)
    labels = np.zeros(read_volume(path).voxels.shape, np.uint8)
    write_labels(tmp_path / "labels.nii.gz", labels, like=path)
    before = (tmp_path / "labels.nii.gz").read_bytes()

    def half(image, target):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nifti.nib, "save", half)
    for target in ("labels.nii.gz", "other.nii.gz"):
        with pytest.raises(OSError, match="disk full"):
            write_labels(tmp_path / target, labels + 1, like=path)
    assert sorted(child.name for child in tmp_path.iterdir()) == ["labels.nii.gz", "scan.nii"]
    assert (tmp_path / "labels.nii.gz").read_bytes() == before


def test_folders_above_a_new_file_are_made(tmp_path):
    write_volume(tmp_path / "a" / "b" / "ct.nii.gz", Volume.from_spacing(HU, (1.0, 1.0, 1.0)))
    assert (tmp_path / "a" / "b" / "ct.nii.gz").stat().st_mode & 0o444 == 0o444  # others may read it


@pytest.mark.filterwarnings("error")  # a warning would be a second line
@pytest.mark.parametrize(("value", "dtype"), [
    (3, np.uint8), (3, np.int16), (-1, np.int16), (-1, np.float32), (0.5, np.float32), (256, np.int16), (258, np.int32),
    (1e9, np.float64)])
def test_a_label_that_is_no_class_is_named(value, dtype, tmp_path):
    labels = np.zeros(SHAPE, dtype)
    labels[0, 0, 0], labels[1, 1, 1] = 1, value
    path = save(tmp_path / "labels.nii.gz", labels)
    with pytest.raises(InputError, match=re.escape(f"holds label {value:g}, expected only 0, 1, 2")):
        read_labels(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_labels_of_any_number_type_are_read_as_uint8(dtype, tmp_path):
    labels = (np.arange(60).reshape(SHAPE) % 3).astype(dtype)
    volume = read_labels(save(tmp_path / "labels.nii.gz", labels))
    assert volume.voxels.dtype == np.uint8
    assert np.array_equal(volume.voxels, by_hand(labels, "LAS"))


def test_more_classes_are_read_where_they_are_asked_for(tmp_path):
    path = save(tmp_path / "labels.nii.gz", np.full(SHAPE, 3, np.uint8))
    assert read_labels(path, range(4)).voxels.max() == 3
