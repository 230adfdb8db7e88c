"""Fixtures for the tests of the web page."""

import pytest
from harness import web


@pytest.fixture(scope="session")
def patient_model(once):
    """Folder of the export of harness/web.py, which may compute without end."""
    return once("web_model", web.export_patient)


@pytest.fixture(scope="module")
def server(patient_model, tmp_path_factory):
    """A server for a file's tests, each of which must leave its queue empty."""
    with web.serving(tmp_path_factory.mktemp("server"), patient_model) as running:
        yield running
