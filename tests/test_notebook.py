"""Checks the committed Colab notebook; `make notebook` runs it."""

import json
import pathlib
import sys
import types

import pytest

NOTEBOOK = pathlib.Path(__file__).parents[1] / "notebooks" / "colab.ipynb"


def test_the_notebook_has_no_output_and_no_count():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.fixture
def data_cell(monkeypatch, tmp_path):
    """Runs the cells that segment a scan and make data, with Colab and the commands mocked.

    Returns (recorded calls, their variables).
    """
    did = []
    drive = types.SimpleNamespace(mount=did.append)
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(drive=drive))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"]}

    def called(kits19, work):
        did.clear()
        names = {"SCAN": "scan.nii.gz", "KITS19": kits19, "WORK": work, "CASES": 2, "HELD_OUT": 1, "SIZE": 64,
                 "pathlib": pathlib, "sys": sys, "run": lambda *command: did.append("ran")}
        for cell in ("segment-1", "cell-05"):
            exec(cells[cell], names)
        return list(did), names

    return called


@pytest.mark.parametrize(("kits19", "work", "did"), [
    ("", "colab", ["ran", "ran", "ran"]),
    ("", "/content/drive/MyDrive/kits", ["/content/drive", "ran", "ran", "ran"]),
    ("/content/drive/MyDrive/kits19/data", "colab", ["/content/drive", "ran"]),
    ("/content/kits19", "/content/drive/MyDrive/kits", ["/content/drive", "ran"]),
    ("/content/kits19", "colab", ["ran"])])
def test_drive_is_mounted_before_anything_is_made_if_either_path_lies_on_it(kits19, work, did, data_cell):
    assert data_cell(kits19, work)[0] == did


def test_links_to_held_out_cases_are_made_where_there_are_links(data_cell, tmp_path):
    _, names = data_cell("/content/drive/MyDrive/kits19/data", "/content/drive/MyDrive/kits")
    assert names["held_out"].parent == tmp_path and names["held_out"].is_dir()
