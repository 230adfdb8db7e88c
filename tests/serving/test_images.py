"""Tests kits_tf.segment: labels of the image's own kind, in its own geometry, for any orientation."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from harness.patients import HU
from nibabel import orientations

import kits_tf
from kits_tf.errors import InputError
from kits_tf.scans import itk, nifti
from kits_tf.scans.nifti import write_volume

ORIENTATIONS = ["LPS", "RAS", "SAR", "IPL", "ARI"]


def as_nibabel(patient, codes):
    """Returns (scan, true labels) as nibabel images with axes in another order."""
    moved = orientations.ornt_transform(orientations.io_orientation(patient.affine), orientations.axcodes2ornt(codes))
    images = [nib.Nifti1Image(voxels, patient.affine) for voxels in (HU[patient.voxels], patient.voxels)]
    return [image.as_reoriented(moved) for image in images]


@pytest.fixture(scope="module")
def expected(tiny_export, small_patient, tmp_path_factory):
    """The labels that the predictor gives for the scan as a file, as a Volume."""
    from kits_tf.serving import Predictor

    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    write_volume(path, small_patient.with_voxels(HU[small_patient.voxels]))
    return Predictor(tiny_export[2]).predict(nifti.read_volume(path))


def moved_to(codes, volume):
    transform = orientations.ornt_transform(orientations.io_orientation(volume.affine),
                                            orientations.axcodes2ornt(codes))
    return orientations.apply_orientation(volume.voxels, transform)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_a_nibabel_image_gives_one_of_the_same_geometry(codes, tiny_export, small_patient, expected):
    scan, _ = as_nibabel(small_patient, codes)
    found = kits_tf.segment(scan, tiny_export[2])
    assert type(found) is nib.Nifti1Image and found.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(found.affine, scan.affine)
    np.testing.assert_array_equal(np.asarray(found.dataobj), moved_to(codes, expected))
    assert set(np.unique(expected.voxels)) == {0, 1, 2}


@pytest.mark.parametrize("codes", ORIENTATIONS[:3])
def test_a_simpleitk_image_gives_one_of_the_same_geometry(codes, tiny_export, small_patient, expected, tmp_path):
    nib.save(as_nibabel(small_patient, codes)[0], tmp_path / "scan.nii.gz")
    scan = SimpleITK.ReadImage(str(tmp_path / "scan.nii.gz"))
    found = kits_tf.segment(scan, tiny_export[2])
    assert found.GetPixelID() == SimpleITK.sitkUInt8
    for field in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(found, field)() == getattr(scan, field)()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(found).T, moved_to(codes, expected))


@pytest.mark.parametrize("codes", ORIENTATIONS[:3])
def test_an_array_with_its_affine_gives_the_same(codes, tiny_export, small_patient, expected):
    scan, _ = as_nibabel(small_patient, codes)
    voxels = np.asarray(scan.dataobj, np.float64)
    labels, affine = kits_tf.segment((voxels[..., np.newaxis], scan.affine), str(tiny_export[2]))
    np.testing.assert_array_equal(affine, scan.affine)
    np.testing.assert_array_equal(labels[..., 0], moved_to(codes, expected))


def test_a_scale_in_the_header_is_applied_and_not_kept(tiny_export, small_patient, expected, tmp_path):
    scan, _ = as_nibabel(small_patient, "RAS")
    hu = np.asarray(scan.dataobj)
    stored = nib.Nifti1Image((hu + 1024) * np.int16(2), scan.affine)
    stored.header.set_slope_inter(0.5, -1024)
    nib.save(stored, tmp_path / "scan.nii.gz")
    scaled = nib.load(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(np.asarray(scaled.dataobj), hu)
    found = kits_tf.segment(scaled, tiny_export[2])
    nib.save(found, tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "labels.nii.gz").dataobj), moved_to("RAS", expected))


SINGULAR = np.diag([1.0, 1.0, 0.0, 1.0])


@pytest.mark.parametrize(("image", "said"), [
    ((np.zeros((3, 4, 5, 2)), np.eye(4)), r"has shape \(3, 4, 5, 2\), expected one 3D volume"),
    ((np.zeros((3, 4)), np.eye(4)), r"has shape \(3, 4\)"),
    (nib.Nifti1Image(np.zeros((3, 4, 5, 2), np.int16), np.eye(4)), r"has shape \(3, 4, 5, 2\)"),
    (SimpleITK.Image(3, 4, SimpleITK.sitkInt16), r"has shape \(3, 4\)"),
    (SimpleITK.Image([3, 4, 5, 2], SimpleITK.sitkInt16), r"has shape \(3, 4, 5, 2\)"),
    (SimpleITK.Image([3, 4, 5], SimpleITK.sitkVectorInt16, 3), r"has shape \(3, 4, 5, 3\)"),
    ((np.zeros((3, 4, 5)), np.eye(3)), "its affine is"), ((np.zeros((3, 4, 5)), SINGULAR), "its affine is"),
    ((np.full((3, 4, 5), np.nan), np.eye(4)), "60 voxels are NaN or infinite"),
    ((np.zeros((3, 4, 5), complex), np.eye(4)), "holds complex128 voxels"),
    ((np.zeros((3, 4, 5)), np.diag([200.0, 1, 1, 1])), "voxel spacing is"),
])
def test_what_is_no_scan_is_refused_in_one_line_before_a_model_is_loaded(image, said):
    with pytest.raises(InputError, match=said) as caught:
        kits_tf.segment(image, "no model")
    assert str(caught.value).startswith("image: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("image", [np.zeros((3, 4, 5)), "scan.nii.gz", None, (1, 2, 3)])
def test_something_else_says_what_is_expected(image):
    with pytest.raises(TypeError, match="expected a nibabel image, a SimpleITK image, or"):
        kits_tf.segment(image)


def test_the_labels_of_an_image_lie_where_its_scan_lies(small_patient):
    scan, truth = as_nibabel(small_patient, "SAR")
    voxels, affine = nifti.from_image(scan)
    assert voxels.shape == truth.shape
    np.testing.assert_array_equal(affine, truth.affine)
    image = SimpleITK.Image([2, 3, 4], SimpleITK.sitkInt16)
    image.SetOrigin((1, 2, 3))
    assert itk.from_image(image)[1][:3, 3].tolist() == [-1, -2, 3]
