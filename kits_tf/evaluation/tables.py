"""Scores over cases: one row per case, mean, median and the worst case of each score.

Rows go in; CSV, JSON and a table to read come out. Nothing is left out to make a mean look better: a case without a
prediction, or with one that cannot be compared, is a row of zeros that says why. Only a case whose ground truth cannot
be read has no scores at all, since none, not even 0, would be fair.
"""

import csv
import dataclasses
import io
import json
import statistics

from kits_tf.evaluation import scores, surface

SCORES = (*scores.COLUMNS, *surface.COLUMNS)
VOLUMES = ("true_kidney_ml", "true_tumor_ml", "predicted_kidney_ml", "predicted_tumor_ml")  # kidney without tumor
COLUMNS = ("case", *SCORES, *VOLUMES, "note")
MISSING = "missing prediction"


@dataclasses.dataclass(frozen=True)
class CaseScores:
    """One row of the report.

    Attributes:
        case: name of the case, as "case_00210".
        scores: one float from 0 to 1 for each of SCORES, or None for each.
        volumes_ml: for each of VOLUMES, in ml, or None where there is nothing to measure.
        note: empty, or why the scores are 0 or None.
    """

    case: str
    scores: dict[str, float | None]
    volumes_ml: dict[str, float | None]
    note: str = ""

    @property
    def missing(self) -> bool:
        """Whether there was no prediction."""
        return self.note == MISSING

    @property
    def failed(self) -> bool:
        """Whether there was a prediction that cannot be compared with the labels, or no labels to compare with."""
        return bool(self.note) and not self.missing

    @property
    def scored(self) -> bool:
        """Whether the case counts in the means."""
        return None not in self.scores.values()


def to_csv(rows: list[CaseScores]) -> str:
    """The rows as CSV text with the columns COLUMNS; what is not known stays empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([row.case, *(_number(row.scores[name], 6) for name in SCORES),
                         *(_number(row.volumes_ml[name], 3) for name in VOLUMES), row.note])
    return text.getvalue()


def _number(value, digits, unknown=""):
    return unknown if value is None else f"{value:.{digits}f}"


def summarize(rows: list[CaseScores]) -> dict:
    """Mean, median and worst case of each score over all rows, those that score 0 for want of a prediction included.

    Args:
        rows: list of CaseScores, at least one of them scored.

    Returns:
        A dict that JSON can hold: `cases` (how many are scored), `missing` and `failed` (names),
        `surface_tolerances_mm`, and `scores`, which maps each of SCORES to `mean`, `median` and `worst` (`case` and
        `score`; the first of equals).
    """
    table = {}
    for name in SCORES:
        values = {row.case: score for row in rows if (score := row.scores[name]) is not None}
        worst = min(values, key=lambda case: values[case])
        table[name] = {"mean": statistics.fmean(values.values()), "median": statistics.median(values.values()),
                       "worst": {"case": worst, "score": values[worst]}}
    return {
        "cases": sum(row.scored for row in rows),
        "missing": [row.case for row in rows if row.missing],
        "failed": [row.case for row in rows if row.failed],
        "surface_tolerances_mm": surface.TOLERANCES_MM,
        "scores": table,
    }


def to_json(summary: dict) -> str:
    """The summary as JSON text."""
    return json.dumps(summary, indent=2) + "\n"


def to_table(rows: list[CaseScores], summary: dict) -> str:
    """The rows, mean, median and worst cases as text to read in a terminal, without a final line break."""
    heads = ("tk_dice", "tu_dice", "composite", "kidney+mass", "mass", "tumor")
    widths = [max(len(head), 6) for head in heads]
    name_width = max(len("median"), *(len(row.case) for row in rows))

    def line(name, values, note=""):
        cells = [f"{value:>{width}}" for value, width in zip(values, widths, strict=True)]
        return "  ".join([f"{name:<{name_width}}", *cells, note]).rstrip()

    def numbers(values):
        return [_number(value, 4, "-") for value in values]

    dice_width = sum(widths[:3]) + 4
    lines = ["  ".join([" " * name_width, f"{'Dice':^{dice_width}}", "surface Dice"]).rstrip(), line("case", heads)]
    lines += [line(row.case, numbers(row.scores.values()), row.note) for row in rows]
    lines.append("-" * len(lines[1]))
    for statistic in ("mean", "median"):
        lines.append(line(statistic, numbers(summary["scores"][name][statistic] for name in SCORES)))
    lines.append("")
    lines += [f"worst {name}: {table['worst']['score']:.4f} {table['worst']['case']}"
              for name, table in summary["scores"].items()]
    return "\n".join(lines)
