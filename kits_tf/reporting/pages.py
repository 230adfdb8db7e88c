"""Web pages of a run: one page with a table of all cases, and one page per case with its slices.

Takes scans, labels and reports; writes HTML. Every page is one file with embedded pictures and needs no network.
"""

import base64
import io
import json
import pathlib

import jinja2
import numpy as np
from PIL import Image

from kits_tf.files.atomic import write_text
from kits_tf.labels import foreground, tumor
from kits_tf.reporting.overlay import LINES, WINDOW_HU, masks_by_line, outlines
from kits_tf.volume import Volume

MOST_SLICES = 200  # per case; for a longer scan only every second, third, ... slice is shown
PIXELS = 384  # longer side of a slice
THUMBNAIL = 260  # width in pixels
JPEG_QUALITY = 80

# Key and heading of each column of the table; columns without values are left out.
COLUMNS = {
    "case": "case", "tk_dice": "kidney Dice", "tu_dice": "tumor Dice", "kidneys": "kidneys", "kidney_ml": "kidney ml",
    "tumor_ml": "tumor ml", "tumors": "tumors", "largest_tumor_mm": "largest mm", "correction_used": "correction",
    "tumor_fallback_used": "fallback", "lesions_kept": "lesions kept", "lesions_dropped": "dropped",
    "message": "warnings",
}

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent / "templates"), autoescape=True,
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def write_case_page(path: str | pathlib.Path, ct: Volume, labels: Volume, report: dict,
                    truth: Volume | None = None) -> None:
    """Writes the page of one case. The file appears complete or not at all.

    Args:
        path: the .html file.
        ct: Volume in Hounsfield units, in the canonical orientation.
        labels: Volume of class ids, on the scan's grid.
        report: dict of JSON values to show; "case" is the title.
        truth: Volume of true class ids, drawn dashed; or None.
    """
    step = -(-ct.voxels.shape[0] // MOST_SLICES)
    shown = range(0, ct.voxels.shape[0], step)
    masks = masks_by_line(labels, truth)
    height, width = ct.voxels.shape[1:]
    y_mm, x_mm = ct.spacing_mm[1:]
    slices = [{"number": z, "image": _jpeg(_gray(ct.voxels[z]), PIXELS),
               "lines": [_svg_path(classes(voxels[z])) for voxels, classes in masks.values()]} for z in shown]
    # The page opens at the slice with the most tumor, or, without a tumor, with the most kidney.
    areas = [np.count_nonzero(foreground(plane)) + plane.size * np.count_nonzero(tumor(plane))
             for plane in labels.voxels[::step]]
    page = _TEMPLATES.get_template("case.html").render(
        title=report["case"], facts=_facts(report), warnings=report.get("warnings", []),
        findings=report.get("findings", {"kidneys": [], "tumors": []}), width=width, height=height,
        aspect=width * x_mm / (height * y_mm), styles=[(name, LINES[name]) for name in masks],
        data=_script_json({"slices": slices, "first": int(np.argmax(areas)), "of": ct.voxels.shape[0]}))
    write_text(path, page)


def write_run_page(path: str | pathlib.Path, rows: list[dict], title: str, made_by: dict | None = None) -> None:
    """Writes the table of all cases, worst first. The file appears complete or not at all.

    Args:
        path: the .html file.
        rows: one dict per case: the known keys of COLUMNS, `status` ("failed" or another), and optionally `picture`,
            the path of its overlay PNG, and `page`, the file name of its page in the same folder.
        title: shown above the table.
        made_by: versions to show, by name.
    """
    columns = {key: name for key, name in COLUMNS.items() if any(row.get(key) not in (None, "") for row in rows)}
    cases = [{**row, "page": None if row["status"] == "failed" else row.get("page"),
              "thumbnail": _thumbnail(row.get("picture")),
              "cells": [(_shown(row.get(key)), _sortable(row.get(key))) for key in columns]}
             for row in sorted(rows, key=worst_first)]
    failed = sum(row["status"] == "failed" for row in rows)
    write_text(path, _TEMPLATES.get_template("run.html").render(
        title=title, columns=list(columns.values()), cases=cases, failed=failed, total=len(rows),
        made_by=made_by or {}))


def worst_first(row: dict) -> tuple:
    """Returns a sort key that puts the worst cases first: failed, then low Dice, then long warnings, then name."""
    scores = [float(row[key]) for key in ("tk_dice", "tu_dice") if row.get(key) not in (None, "")]
    return (row["status"] != "failed", sum(scores) if scores else 2.0, -len(row.get("message") or ""), row["case"])


def _gray(hu):
    low, high = WINDOW_HU
    return np.clip((hu.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)


def _jpeg(pixels, largest):
    picture = Image.fromarray(pixels)
    picture.thumbnail((largest, largest))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(stream.getvalue()).decode()


def _thumbnail(path):
    if path is None or not pathlib.Path(path).is_file():
        return None
    with Image.open(path) as picture:
        height = round(picture.height * THUMBNAIL / picture.width)
        return _jpeg(np.asarray(picture.convert("RGB").resize((THUMBNAIL, height))), max(THUMBNAIL, height))


def _svg_path(mask):
    """Returns a mask's closed outlines as an SVG path, in voxels; the first voxel's corner is at 0."""
    return "".join("M" + "L".join(f"{x + 0.5:g},{y + 0.5:g}" for x, y in line[:-1]) + "Z" for line in outlines(mask))


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
