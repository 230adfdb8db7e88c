"""Fixtures for the tests of the web page."""

import re

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


@pytest.fixture(scope="module")
def secret_server(patient_model, tmp_path_factory):
    """A server with a token that other machines can reach, and that takes 1 MB at most."""
    with web.serving(tmp_path_factory.mktemp("secret"), patient_model, "--host=0.0.0.0", "--token=a b+c&",
                     "--max_upload_mb=1") as running:
        running.address = re.sub(r"//[^:]*", "//127.0.0.1", running.address)
        running.http.base_url = running.address.partition("#")[0]
        yield running
