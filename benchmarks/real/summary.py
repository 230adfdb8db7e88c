"""Summarizes the rows of all scans and slices: means, worst cases and targets, as Markdown."""

import csv
import pathlib
import statistics
from collections.abc import Callable, Sequence

from benchmarks.real import protocol, slices
from benchmarks.real.scans import NO_KIDNEYS
from benchmarks.tables import markdown
from kits_tf.errors import InputError

SHOWN = ("name", "split", "phase", "scanner", "slices", "kidney_dice", "surface_dice", "volume_error_ml",
         "false_kidney_ml", "labelled_ml", "false_tumor_ml", "kidneys")
SAYS = {"kidney_dice": "fine's kidney Dice", "inside_true": "tumor2d inside the true kidney, true kidney given",
        "inside_fine": "tumor2d inside the true kidney, fine's kidney given",
        "tumor_dice": "tumor Dice with fine's kidney", "tumor_dice_true": "tumor Dice with the true kidney"}


def read(folder: pathlib.Path) -> tuple[list[dict], list[dict]]:
    """Reads the rows of an earlier run's output: (scans, crops), as `write` takes them.

    Raises:
        InputError: if there is no results.csv.
    """
    if not (folder / "results.csv").exists():
        raise InputError(f"{folder}: holds no results.csv, expected an earlier output of benchmarks.real")
    return _rows(folder / "results.csv"), _rows(folder / "slices.csv")


def _rows(path):
    """Reads a table's rows as dicts of float, text, or None for empty cells; returns [] if there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as stream:
        return [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(stream)]


def _value(text):
    try:
        return float(text) if text else None
    except ValueError:
        return text


def write(scans: list[dict], crops: list[dict], model: str, before: tuple[list[dict], list[dict]] = ((), ())) -> str:
    """Returns the whole summary as Markdown.

    Args:
        scans: rows of scans.COLUMNS.
        crops: rows of slices.COLUMNS; may be empty.
        model: a line that describes the model.
        before: (scans, crops) of another model, shown beside them.
    """
    parts = ["# Real scans", model, _beside("Targets", "scans", _targets(scans), _targets(before[0])), _each(scans)]
    if crops:
        parts += [_beside("Tumor slices", "crops", _crops(crops), _crops(before[1])), _cost(crops)]
    failed = [[row.get("name") or row.get("slice"), row["note"]] for row in (*scans, *crops) if row.get("note")]
    if failed:
        parts.append(markdown("What failed", ["what", "why"], failed))
    return "\n\n".join(part for part in parts if part) + "\n"


def _beside(title, counted, table, before):
    """Returns a section of rows (split, what, count, mean, worst, target), with mean and worst of `before` if given."""
    if not table:
        return ""
    header, known = ["split", "what", counted, "mean", "worst", "target"], {tuple(row[:2]): row for row in before}
    if known:
        header[3:3] = ["before: mean", "before: worst"]
        table = [[*row[:3], *known.get(tuple(row[:2]), [""] * 5)[3:5], *row[3:]] for row in table]
    return markdown(title, header, table)


def _text(value, digits):
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return "" if value is None else str(value)


def _worst(rows: list[dict], column: str, digits: int, worse: Callable = max) -> str:
    row = worse(rows, key=lambda row: row[column])
    return f"{row[column]:.{digits}f} ({row['name']})"


def _having(rows, column):
    return [row for row in rows if row[column] is not None]


def _targets(scans):
    """Returns one row for each target and split; for kidney and surface Dice, one for each phase too."""
    table = []
    for split in (split for split in protocol.SPLITS if any(row["split"] == split for row in scans)):
        rows = [row for row in scans if row["split"] == split]
        for group in protocol.GROUPS:
            scored = _having([row for row in rows if protocol.group_of(row["phase"] or "") == group], "kidney_dice")
            if scored:
                mean, worst = protocol.KIDNEY_DICE.get(group, ("", ""))
                target = f"{mean}, {worst}" if mean else ""
                table.append([split, f"kidney Dice, {group}", len(scored), _mean(scored, "kidney_dice"),
                              _worst(scored, "kidney_dice", 3, min), target])
                table.append([split, f"surface Dice (1 mm), {group}", len(scored), _mean(scored, "surface_dice"),
                              _worst(scored, "surface_dice", 3, min), ""])
        empty = [row for row in rows if row["reference"] == NO_KIDNEYS and row["labelled_ml"] is not None]
        if empty:
            table.append([split, "labelled in scans without kidneys, ml", len(empty), _mean(empty, "labelled_ml", 1),
                          _worst(empty, "labelled_ml", 1), f"at most {protocol.WITHOUT_KIDNEYS_ML:g} each"])
        far = [row for row in _having(rows, "false_kidney_ml") if row["reference"] != NO_KIDNEYS]
        if far:
            table.append([split, f"labelled more than {protocol.FAR_MM / 10:g} cm from any kidney, ml", len(far),
                          _mean(far, "false_kidney_ml", 1), _worst(far, "false_kidney_ml", 1),
                          f"at most {protocol.FAR_ML:g} each"])
        lesions = _having(rows, "false_tumor_ml")
        if lesions:
            median = statistics.median(row["false_tumor_ml"] for row in lesions)
            table.append([split, "called tumor, ml (median and worst)", len(lesions), f"{median:.1f}",
                          _worst(lesions, "false_tumor_ml", 1), "{:g}, {:g}".format(*protocol.TUMOR_ML)])
    return table


def _mean(rows: list[dict], column: str, digits: int = 3) -> str:
    return f"{statistics.fmean(row[column] for row in rows):.{digits}f}"


def _each(scans):
    rows = [[_text(row[name], 3 if name.endswith("dice") else 1) for name in SHOWN] for row in scans]
    return markdown("Scans", [name.replace("_", " ") for name in SHOWN], rows)


def _crops(crops):
    """Returns means over the crops of real slices, by split, and the scores of labeling all or nothing as tumor."""
    table = []
    for split in protocol.SPLITS:
        rows = [row for row in crops if row["set"] == slices.REAL and row["split"] == split and not row.get("note")]
        if not rows:
            continue
        for name, says in SAYS.items():
            target = protocol.SLICES.get(name, "")
            table.append([split, says, len(rows), _mean(rows, name), f"{min(row[name] for row in rows):.3f}", target])
        for name, says in (("all_tumor", "inside, everything called tumor"), ("no_tumor", "inside, nothing")):
            table.append([split, says, len(rows), _mean(rows, name), "", ""])
    return table


def _cost(crops: Sequence[dict]):
    """Returns means over the same crops of phantoms, unchanged and clipped like the real slices."""
    sets = {kind: [row for row in crops if row["set"] == kind] for kind in (slices.PHANTOM, slices.CLIPPED)}
    if not all(sets.values()):
        return ""
    table = [[says, len(sets[slices.PHANTOM]), *(_mean(rows, name) for rows in sets.values())]
             for name, says in SAYS.items()]
    return markdown("What the clipping of the tumor slices costs, on phantoms",
                    ["what", "crops", "as they are", "clipped"], table)
