"""Tests DICOM segmentations: their voxels and references, for series as scanners and anonymizers write them."""

import highdicom as hd
import numpy as np
import pydicom
import pytest
from harness.dicom_series import (
    ANONYMIZERS,
    IDENTIFYING,
    SCANNERS,
    SPACING_MM,
    random_scan,
    raw,
    slices_of,
    write_series,
    written_by,
)

from kits_tf.errors import InputError
from kits_tf.scans.dicom import read_series
from kits_tf.scans.segmentation import write_segmentation

TURNED = np.radians(7)


def segmented(folder, path, version="test 1"):
    """Reads a series, writes a segmentation of its bright voxels, and returns (labels, the segmentation as read)."""
    volume, slices = read_series(folder)
    labels = volume.with_voxels((volume.voxels > 1000).astype(np.uint8) + (volume.voxels > 1400))
    assert write_segmentation(path, labels, slices, version)
    return labels, hd.seg.segread(path)


def voxels_in(segmentation, labels):
    """Returns a segmentation's voxels in the grid of the labels, whose empty slices it leaves out."""
    back = segmentation.get_volume(combine_segments=True).to_patient_orientation("FPL")
    offset = np.rint(np.linalg.inv(labels.affine) @ np.diag([-1, -1, 1, 1]) @ back.affine)[:3, 3].astype(int)
    whole = np.zeros_like(labels.voxels)
    whole[tuple(slice(start, start + size) for start, size in zip(offset, back.array.shape, strict=True))] = back.array
    return whole


@pytest.mark.parametrize("row", [(1, 0, 0), (np.cos(TURNED), np.sin(TURNED), 0)])
def test_a_segmentation_says_of_the_scans_own_voxels_what_the_labels_say(tmp_path, row):
    column = np.cross((0, 0, 1), row)
    folder = write_series(tmp_path / "scan", slices_of(random_scan(), SPACING_MM, row=row, column=column))
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


def test_a_segmentation_of_a_series_may_lie_in_its_folder(series):
    volume, slices = read_series(series)
    labels = volume.with_voxels((volume.voxels > 1000).astype(np.uint8))
    assert write_segmentation(series / "seg.dcm", labels, slices, "test 1")
    assert len(read_series(series)[1]) == 6




def referred_to(segmentation):
    """Returns {(study UID, series UID): instance UIDs} that a segmentation refers to."""
    own = pydicom.Dataset()
    own.StudyInstanceUID, own.ReferencedSeriesSequence = (segmentation.StudyInstanceUID,
                                                          segmentation.ReferencedSeriesSequence)
    others = segmentation.get("StudiesContainingOtherReferencedInstancesSequence", [])
    assert all(study.StudyInstanceUID != segmentation.StudyInstanceUID for study in others)
    return {(study.StudyInstanceUID, item.SeriesInstanceUID): {
        one.ReferencedSOPInstanceUID for one in item.ReferencedInstanceSequence}
        for study in (own, *others) for item in study.ReferencedSeriesSequence}


def named_by(slices):
    series = {}
    for dataset in slices:
        series.setdefault((dataset.StudyInstanceUID, dataset.SeriesInstanceUID), set()).add(dataset.SOPInstanceUID)
    return series


@pytest.mark.parametrize("anonymizer", [None, *ANONYMIZERS])
@pytest.mark.parametrize("scanner", SCANNERS)
def test_a_segmentation_is_made_of_what_scanners_and_anonymizers_write(scanner, anonymizer, tmp_path):
    slices = written_by(scanner, slices_of(random_scan(), SPACING_MM))
    if anonymizer:
        ANONYMIZERS[anonymizer](slices)
    labels, found = segmented(write_series(tmp_path / "scan", slices), tmp_path / "seg.dcm")
    np.testing.assert_array_equal(voxels_in(found, labels), labels.voxels)
    assert referred_to(found) == named_by(slices)
    assert found.StudyInstanceUID in {dataset.StudyInstanceUID for dataset in slices}
    assert pydicom.uid.UID(found.FrameOfReferenceUID).is_valid
    for field in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                  "AccessionNumber", "ReferringPhysicianName"):
        assert field in found
    assert found.ContentDate and found.ContentTime
    if anonymizer is None:
        assert str(found.PatientName) == SCANNERS[scanner].get("PatientName", "a^b")
        assert found.ContributingEquipmentSequence[0].Manufacturer == SCANNERS[scanner]["Manufacturer"]


@pytest.mark.parametrize("text", ["", "?", "0" * 70, "A\\B\\C", "²³"])
def test_no_odd_value_of_what_only_tells_who_or_when_prevents_a_segmentation(text, tmp_path):
    slices = written_by("GE", slices_of(random_scan(), SPACING_MM))
    for dataset in slices:
        for field in IDENTIFYING:
            raw(dataset, field, text)
    labels, found = segmented(write_series(tmp_path / "odd", slices), tmp_path / "seg.dcm")
    np.testing.assert_array_equal(voxels_in(found, labels), labels.voxels)


def test_uids_with_leading_zeros_are_kept_as_they_are(tmp_path):
    slices = slices_of(random_scan(), SPACING_MM)
    for number, dataset in enumerate(slices):
        for field in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            raw(dataset, field, "1.2.840.000123.4")
        raw(dataset, "SOPInstanceUID", f"1.2.840.000{number}")
    _, found = segmented(write_series(tmp_path / "scan", slices), tmp_path / "seg.dcm")
    assert found.StudyInstanceUID == found.FrameOfReferenceUID == "1.2.840.000123.4"
    assert referred_to(found) == {("1.2.840.000123.4",) * 2: {f"1.2.840.000{number}" for number in range(6)}}


@pytest.mark.parametrize(("field", "values", "said"), [
    ("SOPInstanceUID", ["1.2.3"] * 6, "its 6 slices have only 1 different SOPInstanceUIDs"),
    ("SOPInstanceUID", ["REMOVED"] * 6, "SOPInstanceUID is REMOVED, no UID"),
    ("StudyInstanceUID", [""] * 6, "a slice has no StudyInstanceUID"),
    ("SeriesInstanceUID", [""] * 6, "a slice has no SeriesInstanceUID")])
def test_uids_that_a_segmentation_must_refer_to_are_named_if_they_are_none(field, values, said, tmp_path):
    slices = slices_of(random_scan(), SPACING_MM)
    for dataset, value in zip(slices, values, strict=True):
        raw(dataset, field, value)
    with pytest.raises(InputError) as caught:
        segmented(write_series(tmp_path / "scan", slices), tmp_path / "seg.dcm")
    assert str(caught.value) == (f"no DICOM segmentation can be made of the series ({said}); leave dicomseg out of "
                                 f"--output_format")
    assert not (tmp_path / "seg.dcm").exists()
