"""The Colab notebook as it is committed; `make notebook` runs it."""

import json
import pathlib

NOTEBOOK = pathlib.Path(__file__).parents[1] / "notebooks" / "colab.ipynb"


def test_it_holds_no_output_and_no_count():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
