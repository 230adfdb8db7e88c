"""Tests DICOM compressions that an extra reads: what python-gdcm decodes equals the uncompressed series."""

import numpy as np
import pytest
from harness.dicom_series import SPACING_MM, random_scan, slices_of, write_series
from pydicom import uid

from kits_tf.scans.dicom import read_series

gdcm = pytest.importorskip("gdcm", reason="python-gdcm is not installed")

SYNTAXES = {
    "JPEG Lossless": gdcm.TransferSyntax.JPEGLosslessProcess14,
    "JPEG Lossless SV1": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG 2000": gdcm.TransferSyntax.JPEG2000Lossless,
    "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
    "RLE": gdcm.TransferSyntax.RLELossless,
}


def compress(path, syntax):
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.mark.parametrize("name", SYNTAXES)
def test_a_compressed_series_is_the_volume_of_the_uncompressed_one(name, tmp_path):
    slices = slices_of(random_scan(), SPACING_MM)
    expected, _ = read_series(write_series(tmp_path / "plain", slices))
    folder = write_series(tmp_path / "packed", slices)
    for path in folder.iterdir():
        compress(path, SYNTAXES[name])
    found, packed = read_series(folder)
    assert packed[0].file_meta.TransferSyntaxUID != uid.ExplicitVRLittleEndian or packed[0].is_decompressed
    np.testing.assert_array_equal(found.voxels, expected.voxels)
    np.testing.assert_allclose(found.affine, expected.affine)
