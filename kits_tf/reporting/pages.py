"""Web pages of a run: one page with a table of all cases, and one page per case with a viewer of the scan.

Takes scans, labels and reports; writes HTML that needs neither a network nor a server. The viewer is NiiVue, of which
each folder of pages has one copy (`write_library`); its controls are in static/viewer.js. A page of a case embeds the
scan, reduced (embedding.py). The pages name their files without folders, so that the folder can be moved.
"""

import json
import pathlib

import jinja2
from PIL import Image

from kits_tf.files.atomic import write_text
from kits_tf.files.own import staged
from kits_tf.reporting.embedding import embed
from kits_tf.volume import Volume

HERE = pathlib.Path(__file__).parent
NIIVUE = (HERE / "niivue" / "VERSION").read_text(encoding="utf-8").strip()
LIBRARY = f"niivue-{NIIVUE}.js"  # named by its version: the pages of an earlier version keep theirs
THUMBNAIL = 200  # width in pixels

# Key and heading of each column of the table; columns without values are left out.
COLUMNS = {
    "case": "case", "tk_dice": "kidney Dice", "tu_dice": "tumor Dice", "kidneys": "kidneys", "kidney_ml": "kidney ml",
    "tumor_ml": "tumor ml", "tumors": "tumors", "largest_tumor_mm": "largest mm", "correction_used": "correction",
    "tumor_fallback_used": "fallback", "lesions_kept": "lesions kept", "lesions_dropped": "dropped",
    "message": "warnings",
}

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True,
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def write_library(folder: str | pathlib.Path, overwrite: bool = False) -> None:
    """Writes NiiVue, with its license, into a folder of pages, unless it is there.

    Raises:
        InputError: as kits_tf.files.own.staged, if another file is in its place.
        RunError: if the folder cannot be written to.
    """
    licence = (HERE / "niivue" / "LICENSE").read_text(encoding="utf-8")
    code = (HERE / "niivue" / "niivue.umd.js").read_text(encoding="utf-8")
    text = f"/*! NiiVue {NIIVUE}, https://github.com/niivue/niivue\n\n{licence}*/\n{code}"
    path = pathlib.Path(folder) / LIBRARY
    if path.is_file() and path.read_bytes() == text.encode():
        return
    with staged(folder, overwrite) as temporary:
        write_text(temporary / LIBRARY, text)


def write_case_page(path: str | pathlib.Path, ct: Volume, labels: Volume, report: dict, truth: Volume | None = None,
                    picture: str | None = None, window_hu: tuple[float, float] | None = None) -> None:
    """Writes the page of one case. The file appears complete or not at all. Its folder needs `write_library` too.

    Args:
        path: the .html file.
        ct: Volume in Hounsfield units, in the canonical orientation.
        labels: Volume of class ids, on the scan's grid.
        report: dict of JSON values to show; "case" is the title.
        truth: Volume of true class ids to compare with; or None.
        picture: name of the overlay picture in the page's folder, shown where the viewer does not work; or None.
        window_hu: the nets' intensity window, as one more preset; or None.
    """
    findings = report.get("findings", {"kidneys": [], "tumors": []})
    listed = [*findings["tumors"], *findings["kidneys"]]
    volumes, note = embed(ct, labels, truth)
    data = {"volumes": volumes, "findings": listed, "name": report["case"], "picture": picture,
            "grid": {"shape": ct.voxels.shape, "affine": ct.affine.tolist()},
            "windows": {"nets": window_hu} if window_hu else {}}
    write_text(path, _TEMPLATES.get_template("case.html").render(
        title=report["case"], facts=_facts(report), warnings=report.get("warnings", []), **findings, note=note,
        confident=any("confidence" in finding for finding in listed), picture=picture, library=LIBRARY, niivue=NIIVUE,
        data=_script_json(data), viewer=_static("viewer.js"), script=_static("case.js")))


def write_run_page(path: str | pathlib.Path, rows: list[dict], title: str, made_by: dict | None = None) -> None:
    """Writes the table of all cases, worst first. The file appears complete or not at all.

    Args:
        path: the .html file.
        rows: one dict per case: the known keys of COLUMNS, `status` ("failed" or another), and optionally `picture`,
            the path of its overlay PNG, and `page`, the file name of its page, both in the page's folder.
        title: shown above the table.
        made_by: versions to show, by name.
    """
    columns = {key: name for key, name in COLUMNS.items() if any(row.get(key) not in (None, "") for row in rows)}
    cases = [{"case": row["case"], "kind": _kind(row), "tumor_mm": row.get("largest_tumor_mm") or 0,
              "page": None if row["status"] == "failed" else row.get("page"), "picture": _thumbnail(row.get("picture")),
              "cells": [(_shown(row.get(key)), _sortable(row.get(key))) for key in columns]}
             for row in sorted(rows, key=worst_first)]
    failed = sum(row["status"] == "failed" for row in rows)
    write_text(path, _TEMPLATES.get_template("run.html").render(
        title=title, columns=list(columns.values()), cases=cases, failed=failed, total=len(rows),
        made_by=made_by or {}, thumbnail=THUMBNAIL, script=_static("run.js")))


def worst_first(row: dict) -> tuple:
    """Returns a sort key that puts the worst cases first: failed, then low Dice, then long warnings, then name."""
    scores = [float(row[key]) for key in ("tk_dice", "tu_dice") if row.get(key) not in (None, "")]
    return (row["status"] != "failed", sum(scores) if scores else 2.0, -len(row.get("message") or ""), row["case"])


def _kind(row):
    """Returns what the table filters by: "failed", "warned" or "plain"."""
    return "failed" if row["status"] == "failed" else "warned" if row.get("message") else "plain"


def _thumbnail(path):
    """Returns name and shown size of a picture, which the browser loads when it comes into view; None without one."""
    if path is None or not pathlib.Path(path).is_file():
        return None
    with Image.open(path) as picture:  # reads its size alone
        return {"name": pathlib.Path(path).name, "width": THUMBNAIL,
                "height": round(picture.height * THUMBNAIL / picture.width)}


def _static(name):
    return (HERE / "static" / name).read_text(encoding="utf-8")


def _script_json(value):
    """Returns JSON that is safe inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _facts(report):
    hidden = ("case", "warnings", "findings")
    return [(COLUMNS.get(name, name.replace("_", " ")), _shown(value)) for name, value in report.items()
            if name not in hidden and not isinstance(value, dict)]


def _shown(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _sortable(value):
    return float(value) if isinstance(value, bool | int | float) else str(value or "")
