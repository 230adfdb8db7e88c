"""A DICOM series that the tests of reading and of writing share."""

import pytest
from harness.dicom_series import SPACING_MM, random_scan, slices_of, write_series


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "scan", slices_of(random_scan(), SPACING_MM))
