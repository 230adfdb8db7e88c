"""Tests enhanced CT: one DICOM file with all slices is the volume that a file per slice would be."""

import numpy as np
import pydicom
import pytest
from harness.dicom_series import SPACING_MM, enhanced, random_scan, refusal, slices_of, write_series
from pydicom import uid

from kits_tf.errors import InputError
from kits_tf.scans.dicom import read_series
from kits_tf.scans.discovery import find_scans
from kits_tf.scans.segmentation import write_segmentation

TURNED = np.radians(7)
OBLIQUE = {"row": (np.cos(TURNED), np.sin(TURNED), 0), "column": (-np.sin(TURNED), np.cos(TURNED), 0)}


def stored(folder, dataset):
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(folder / "IM0001", enforce_file_format=True)
    return folder


@pytest.mark.parametrize("geometry", [{}, OBLIQUE, {"row": (0, 1, 0), "column": (0, 0, -1)}])
@pytest.mark.parametrize("class_uid", [uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage])
def test_a_multi_frame_file_is_the_volume_of_its_slices(class_uid, geometry, tmp_path):
    slices = slices_of(random_scan(), SPACING_MM, **geometry)
    expected, _ = read_series(write_series(tmp_path / "slices", slices))
    found, frames = read_series(stored(tmp_path / "scan", enhanced(slices, class_uid=class_uid)))
    np.testing.assert_array_equal(found.voxels, expected.voxels)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-9)
    assert found.warnings == () and len(frames) == 6


def test_frames_in_any_order_with_their_own_rescaling_are_sorted_by_position(tmp_path):
    slices = slices_of(random_scan(), SPACING_MM)
    expected, _ = read_series(write_series(tmp_path / "slices", slices))
    for number, dataset in enumerate(slices):  # the same Hounsfield units, stored with another intercept
        raw = np.frombuffer(dataset.PixelData, np.uint16) + number
        dataset.PixelData, dataset.RescaleIntercept = raw.astype(np.uint16).tobytes(), str(-1024 - number)
    shuffled = [slices[index] for index in (3, 0, 5, 1, 4, 2)]
    found, frames = read_series(stored(tmp_path / "scan", enhanced(shuffled)))
    np.testing.assert_array_equal(found.voxels, expected.voxels)
    assert [int(frame.InstanceNumber) for frame in frames] == [2, 4, 6, 1, 5, 3]


@pytest.mark.parametrize("shared", [(), ("PixelMeasuresSequence", "PlaneOrientationSequence",
                                         "PixelValueTransformationSequence")])
def test_groups_may_be_shared_or_per_frame(shared, tmp_path):
    slices = slices_of(random_scan(), SPACING_MM)
    found, _ = read_series(stored(tmp_path / "scan", enhanced(slices, shared)))
    np.testing.assert_array_equal(found.voxels, read_series(write_series(tmp_path / "slices", slices))[0].voxels)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless])
def test_a_compressed_multi_frame_file_is_read(syntax, tmp_path):
    slices = slices_of(random_scan(), SPACING_MM)
    whole = enhanced(slices)
    whole.compress(syntax, generate_instance_uid=False)
    found, _ = read_series(stored(tmp_path / "scan", whole))
    np.testing.assert_array_equal(found.voxels, read_series(write_series(tmp_path / "slices", slices))[0].voxels)


def broken(name):
    slices = slices_of(random_scan(), SPACING_MM)
    if name == "missing frame":
        return enhanced(slices[:3] + slices[4:])
    if name == "two phases":
        return enhanced(slices + slices)
    if name == "tilted":
        for number, dataset in enumerate(slices):
            dataset.ImagePositionPatient[1] += number * SPACING_MM[0] * np.tan(np.radians(12))
        return enhanced(slices)
    whole = enhanced(slices)
    if name == "other count":
        whole.NumberOfFrames = 5
    elif name == "no groups":
        del whole.PerFrameFunctionalGroupsSequence
    elif name == "no position":
        del whole.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    elif name == "no rescale":
        del whole.PerFrameFunctionalGroupsSequence[4].PixelValueTransformationSequence
    elif name == "cut":
        whole.PixelData = whole.PixelData[:500]
    elif name == "localizer":
        item = pydicom.Dataset()
        item.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
        whole.PerFrameFunctionalGroupsSequence[1].CTImageFrameTypeSequence = [item]
    return whole


@pytest.mark.parametrize(("name", "said"), [
    ("missing frame", "6.00 mm between 106.0 and 112.0 mm; are some missing"),
    ("two phases", "has two slices at 100.0 mm (IM0001 frame 1 and IM0001 frame 7); is this more than one phase"),
    ("tilted", "gantry was tilted by 12.0 degrees"),
    ("other count", "IM0001 claims 5 frames and says where 6 are; is it damaged?"),
    ("no groups", "IM0001 holds all slices in one file and does not say where they are"),
    ("no position", "IM0001 frame 3 has no ImagePositionPatient"),
    ("no rescale", "IM0001 frame 5 does not say how its values become Hounsfield units (no RescaleSlope)"),
    ("cut", "the pixels of IM0001 cannot be read"),
    ("localizer", "frame 2 of IM0001 is a localizer"),
])
@pytest.mark.filterwarnings("ignore:::pydicom")
def test_frames_that_make_no_volume_are_refused(name, said, tmp_path):
    assert said in refusal(stored(tmp_path / "scan", broken(name)))


def test_a_multi_frame_file_is_a_scan_of_a_folder_and_by_itself(tmp_path):
    slices = slices_of(random_scan(), SPACING_MM)
    stored(tmp_path / "scan", enhanced(slices))
    enhanced(slices).save_as(tmp_path / "patient.dcm", enforce_file_format=True)
    slices[0].save_as(tmp_path / "slice.dcm", enforce_file_format=True)
    folder, = find_scans(tmp_path / "scan")
    file, = find_scans(tmp_path / "patient.dcm")
    assert [(case.name, len(case.files)) for case in (folder, file)] == [("scan", 1), ("patient", 1)]
    np.testing.assert_array_equal(read_series(folder.imaging, folder.files)[0].voxels,
                                  read_series(file.imaging, file.files)[0].voxels)
    with pytest.raises(InputError, match="is a single DICOM file"):
        find_scans(tmp_path / "slice.dcm")


def test_three_anonymous_multi_frame_files_are_three_scans(tmp_path):
    for number in range(3):
        whole = enhanced(slices_of(random_scan() + np.int16(number), SPACING_MM))
        whole.SeriesInstanceUID, whole.SOPInstanceUID = f"1.2.3.{number}", f"1.2.4.{number}"
        whole.save_as(tmp_path / f"IM{number}", enforce_file_format=True)
    assert [len(case.files) for case in find_scans(tmp_path)] == [1, 1, 1]


def test_a_segmentation_of_frames_is_left_out_in_one_line(tmp_path):
    volume, frames = read_series(stored(tmp_path / "scan", enhanced(slices_of(random_scan(), SPACING_MM))))
    labels = volume.with_voxels(np.ones(volume.voxels.shape, np.uint8))
    with pytest.raises(InputError, match="no DICOM segmentation can be made of the series") as caught:
        write_segmentation(tmp_path / "seg.dcm", labels, frames, "1")
    assert str(caught.value).isprintable()
