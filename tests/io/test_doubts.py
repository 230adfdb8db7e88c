"""What is odd about a scan, yet usable, is said and never guessed away."""

import nibabel as nib
import numpy as np
import pytest
from bad_scans import patched
from geometries import affine_of

from kits_tf.io.doubts import label_doubts, scan_doubts
from kits_tf.io.nifti import read_labels, read_volume, write_volume
from kits_tf.volume import Volume

SPACING_MM = (5.0, 3.0, 3.0)
TRAINED_MM = (3.0, 0.7816, 0.7816)  # 3 mm in-plane is far from it: the body below is tested at 1.5 mm


def body(shape=(40, 100, 150), spacing_mm=(4.0, 2.0, 1.5)):
    """A slab of abdomen in Hounsfield units: an oval of tissue in air, a spine to the back, lungs to the head."""
    places = np.meshgrid(*((np.arange(size) + 0.5) / size - 0.5 for size in shape), indexing="ij")
    z, y, x = places
    hu = np.full(shape, -1000, np.int16)
    inside = (y / 0.42) ** 2 + (x / 0.45) ** 2 < 1
    hu[inside] = 40
    hu[inside & (z < -0.3) & (abs(x) > 0.1) & (abs(x) < 0.35) & (abs(y) < 0.25)] = -850
    hu[((y - 0.25) / 0.08) ** 2 + (x / 0.06) ** 2 < 1] = 600
    return Volume.from_spacing(hu, spacing_mm)


def doubts(volume):
    return scan_doubts(volume, TRAINED_MM)


def test_an_ordinary_scan_raises_no_doubt():
    assert doubts(body()) == []


def changed(change):
    volume = body()
    return volume.with_voxels(np.ascontiguousarray(change(volume.voxels)))


def spaced(*spacing_mm):
    return Volume.from_spacing(body().voxels, spacing_mm)


def cropped(*box):
    volume = body()
    return Volume.from_spacing(np.ascontiguousarray(volume.voxels[box]), volume.spacing_mm)


ODD = {
    "offset by 1024": (changed(lambda hu: (hu + 1024).astype(np.uint16)), r"% lie where tissue would be with 1024 added"),
    "8-bit picture": (changed(lambda hu: np.clip((hu + 200) / 2, 0, 255).astype(np.uint8)),
                      "from 0 to 255, as in an 8-bit picture"),
    "16-bit unsigned": (changed(lambda hu: (hu + 1000).astype(np.uint16) * 30), "from 0 to 48000 without air"),
    "MRI-like": (changed(lambda hu: np.where(hu < -500, 0, 400 + hu).astype(np.int16)), r"no Hounsfield units \(MRI\?\)"),
    "MRI with noise below 0": (changed(lambda hu: np.where(hu < -500, -3, 400 + hu).astype(np.int16)),
                               r"Only 0\.0% of it is air \(below -500, the least is -3\)"),
    "air alone": (changed(lambda hu: np.full_like(hu, -1024)), r"Only 0\.0% of it has the Hounsfield units of soft"),
    "beyond int16": (changed(lambda hu: np.where(hu == 600, 99999.0, hu).astype(np.float32)),
                     "from -1000 to 99999; what lies beyond -32768 or 32767"),
    "0.1 mm": (spaced(4.0, 2.0, 0.1), r"0\.1 mm along x is far from the 0\.7816 mm"),
    "20 mm": (spaced(20.0, 2.0, 1.5), r"20 mm along z is far from the 3 mm"),
    "one slice": (cropped(np.s_[20:21]), "one voxel thick from head to feet"),
    "few slices": (cropped(np.s_[:20]), "covers only 80 mm from head to feet"),
    "cropped field of view": (cropped(np.s_[:], np.s_[:], np.s_[30:90]), "covers only 90 mm from right to left"),
    "upside down by its header": (changed(lambda hu: hu[::-1]), "head and feet the wrong way round"),
    "mirrored by its header": (changed(lambda hu: hu[:, ::-1]), "front and back the wrong way round"),
    "turned by half a turn": (changed(lambda hu: hu[:, ::-1, ::-1]), "front and back the wrong way round"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_is_said_once_in_one_line(kind):
    volume, said = ODD[kind]
    found = doubts(volume)
    assert len([line for line in found if pytest.approx(line) == line]) == len(set(found))
    import re
    assert sum(bool(re.search(said, line)) for line in found) == 1
    assert all(len(line.splitlines()) == 1 and line.endswith(".") for line in found)


def test_mirrored_from_right_to_left_cannot_be_told():
    assert doubts(changed(lambda hu: hu[:, :, ::-1])) == []
