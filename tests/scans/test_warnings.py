"""Tests the warnings for scans that are odd but usable; such scans are never corrected silently."""

import re

import nibabel as nib
import numpy as np
import pytest
from harness.bad_scans import patched
from harness.geometries import affine_of

from kits_tf.scans.nifti import read_labels, read_volume, write_volume
from kits_tf.scans.warnings import label_warnings, scan_warnings
from kits_tf.volume import Volume

TRAINED_MM = (3.0, 0.7816, 0.7816)


def body(shape=(40, 100, 150), spacing_mm=(4.0, 1.8, 1.5)):
    """Returns a slab of abdomen in HU: an oval of tissue in air, the spine at the back, lungs toward the head."""
    places = np.meshgrid(*((np.arange(size) + 0.5) / size - 0.5 for size in shape), indexing="ij")
    z, y, x = places
    hu = np.full(shape, -1000, np.int16)
    inside = (y / 0.42) ** 2 + (x / 0.45) ** 2 < 1
    hu[inside] = 40
    hu[inside & (z < -0.3) & (abs(x) > 0.1) & (abs(x) < 0.35) & (abs(y) < 0.25)] = -850
    hu[((y - 0.25) / 0.08) ** 2 + (x / 0.06) ** 2 < 1] = 600
    return Volume.from_spacing(hu, spacing_mm)


def warnings_of(volume):
    return scan_warnings(volume, TRAINED_MM)


def test_an_ordinary_scan_raises_no_warning():
    assert warnings_of(body()) == []


def changed(change):
    volume = body()
    return volume.with_voxels(np.ascontiguousarray(change(volume.voxels)))


def spaced(*spacing_mm):
    return Volume.from_spacing(body().voxels, spacing_mm)


def cropped(*box):
    volume = body()
    return Volume.from_spacing(np.ascontiguousarray(volume.voxels[box]), volume.spacing_mm)


ODD = {
    "offset by 1024": (changed(lambda hu: (hu + 1024).astype(np.uint16)), "would be with 1024 added"),
    "8-bit picture": (changed(lambda hu: np.clip((hu + 200) / 2, 0, 255).astype(np.uint8)),
                      "from 0 to 255, as in an 8-bit image"),
    "16-bit unsigned": (changed(lambda hu: (hu + 1000).astype(np.uint16) * 30), "from 0 to 48000 without air"),
    "MRI-like": (changed(lambda hu: np.where(hu < -500, 0, 400 + hu).astype(np.int16)), r"Hounsfield units \(MRI\?\)"),
    "MRI with noise below 0": (changed(lambda hu: np.where(hu < -500, -3, 400 + hu).astype(np.int16)),
                               r"Only 0\.0% of it is air \(below -500; the lowest value is -3\)"),
    "air alone": (changed(lambda hu: np.full_like(hu, -1024)), r"Only 0\.0% of it has the Hounsfield units of soft"),
    "beyond int16": (changed(lambda hu: np.where(hu == 600, 99999.0, hu).astype(np.float32)),
                     "from -1000 to 99999; values beyond -32768 or 32767"),
    "0.1 mm": (spaced(4.0, 1.8, 0.1), r"0\.1 mm along x is far from the 0\.7816 mm"),
    "20 mm": (spaced(20.0, 1.8, 1.5), r"20 mm along z is far from the 3 mm"),
    "one slice": (cropped(np.s_[20:21]), "one voxel thick from head to feet"),
    "few slices": (cropped(np.s_[:20]), "covers only 80 mm from head to feet"),
    "cropped field of view": (cropped(np.s_[:], np.s_[:], np.s_[30:90]), "covers only 90 mm from right to left"),
    "upside down by its header": (changed(lambda hu: hu[::-1]), "head and feet the wrong way round"),
    "mirrored by its header": (changed(lambda hu: hu[:, ::-1]), "front and back the wrong way round"),
    "turned by half a turn": (changed(lambda hu: hu[:, ::-1, ::-1]), "front and back the wrong way round"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_is_a_warning_of_one_line_given_once(kind):
    volume, said = ODD[kind]
    found = warnings_of(volume)
    assert [bool(re.search(said, line)) for line in found].count(True) == 1
    assert all(len(line.splitlines()) == 1 and line.endswith(".") for line in found)
    assert len(found) == (2 if kind == "0.1 mm" else 1), found  # the 0.1 mm scan also covers only 15 mm


def test_mirrored_from_right_to_left_cannot_be_detected():
    assert warnings_of(changed(lambda hu: hu[:, :, ::-1])) == []


def stored(path, change=lambda header: None, **patches):
    """Writes the body with a changed header and reads it back."""
    image = nib.Nifti1Image(body().voxels, affine_of("IPL", (4.0, 1.8, 1.5)))
    image.header.set_xyzt_units("mm")
    image.header["sform_code"], image.header["qform_code"] = 1, 1
    change(image.header)
    nib.save(nib.Nifti1Image(image.dataobj, None, image.header), path)
    for field, value in patches.items():
        patched(path, field, value)
    return read_volume(path)


def qform_aside(header):
    header.set_sform(affine_of("IPL", (4.0, 1.8, 1.5)), 1)
    header.set_qform(affine_of("IPL", (4.0, 1.8, 1.5), origin=(12.5, -40.0, 307.0)), 1)


def qform_alike(header):
    header.set_sform(affine_of("IPL", (4.0, 1.8, 1.5)), 1)
    header.set_qform(affine_of("IPL", (4.0, 1.8, 1.5)), 1)


@pytest.mark.parametrize(("change", "patches", "said"), [
    (qform_alike, {}, None),
    (qform_aside, {}, "The header's qform and sform disagree by up to 7.0 mm; the sform was used."),
    (qform_alike, {"quatern_b": 5.0}, "The header's qform is invalid; its sform was used."),
    (qform_alike, {"xyzt_units": 1}, "The header says that its spacing is in meters; it was read as millimeters."),
    (qform_alike, {"xyzt_units": 3}, "The header says that its spacing is in micrometers; it was read as "
                                     "millimeters."),
    (qform_alike, {"xyzt_units": 0}, None),  # many files omit it
    (qform_alike, {"qform_code": 0, "sform_code": 0}, "The header does not say how the scan lies in the patient (qform "
                                                      "and sform codes are 0); an orientation was assumed."),
])
def test_an_odd_header_is_the_first_warning(change, patches, said, tmp_path):
    volume = stored(tmp_path / "scan.nii", change, **patches)
    assert volume.warnings == (() if said is None else (said,))
    assert warnings_of(volume)[:1] == list(volume.warnings)
    assert volume.with_voxels(volume.voxels + 1).warnings == volume.warnings


def test_a_tilted_gantry_is_reported_with_its_angle(tmp_path):
    def tilted(header):
        affine = affine_of("IPL", (4.0, 1.8, 1.5))
        affine[1, 0] = 4.0 * np.tan(np.radians(25))  # slices move back as they go down
        header.set_sform(affine, 1)
        header.set_qform(None, 0)
    said, = stored(tmp_path / "scan.nii", tilted).warnings
    assert said.startswith("Its axes are 25.0 degrees off a right angle (a tilted gantry?)")


@pytest.mark.parametrize("read", [read_volume, read_labels])
def test_bytes_that_follow_the_voxels_are_counted(read, tmp_path):
    write_volume(tmp_path / "scan.nii", Volume.from_spacing(np.ones((3, 4, 5), np.uint8), (1, 1, 1)))
    with open(tmp_path / "scan.nii", "ab") as stream:
        stream.write(bytes(77))
    assert read(tmp_path / "scan.nii").warnings[-1] == "77 bytes follow the voxels and were ignored."


@pytest.mark.parametrize(("box", "ends"), [
    (np.s_[2:4, 2:4, 2:4], []), (np.s_[:4, 2:4, 2:4], ["head"]), (np.s_[2:, 2:4, 2:4], ["feet"]),
    (np.s_[2:4, :4, 2:4], ["front"]), (np.s_[2:4, 2:, 2:4], ["back"]), (np.s_[2:4, 2:4, :3], ["right"]),
    (np.s_[2:4, 2:4, 2:], ["left"]), (np.s_[:], ["head", "feet", "front", "back", "right", "left"])])
def test_a_kidney_at_the_edge_names_the_edge(box, ends):
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[box] = 2
    assert label_warnings(labels) == [
        f"A kidney or tumor touches the scan's edge towards the {end}: it may be cut off." for end in ends]


def test_one_slice_has_no_edge_along_its_own_axis():
    labels = np.zeros((1, 7, 8), np.uint8)
    labels[0, 3, 3] = 1
    assert label_warnings(labels) == []
