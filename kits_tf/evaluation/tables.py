"""Tables of scores: one row per case; mean, median and worst case of each score.

Takes rows; returns CSV, JSON and a printable table. No case is dropped from the means: a case whose prediction is
missing or cannot be compared scores 0 with a note that gives the reason. Only a case whose ground truth cannot be read
has no scores, since none, not even 0, is fair.
"""

import csv
import dataclasses
import io
import json
import statistics

import kits_tf
from kits_tf.evaluation import scores, surface

SCORES = (*scores.COLUMNS, *surface.COLUMNS)
MASSES = ("mass_dice", "mass_surface_dice")  # scored only where the ground truth has cysts
HEADS = {"composite_dice": "composite", "mass_dice": "mass", "kidney_and_mass_surface_dice": "kidney+mass",
         "mass_surface_dice": "mass", "tumor_surface_dice": "tumor"}  # in the printed table
VOLUMES = ("true_kidney_ml", "true_tumor_ml", "predicted_kidney_ml", "predicted_tumor_ml")  # kidney excludes tumor
SCHEMA = 2  # of scores.csv and summary.json; raise it when a column or key goes or means something else
COLUMNS = ("case", *SCORES, *VOLUMES, "note", "schema")
MISSING = "missing prediction"


@dataclasses.dataclass(frozen=True)
class CaseScores:
    """One row of the report.

    Attributes:
        case: name of the case, for example "case_00210".
        scores: for each of SCORES a float from 0 to 1, for MASSES None without cysts in the ground truth; or all None.
        volumes_ml: for each of VOLUMES a volume in ml, or None if there are no labels to measure.
        note: empty, or the reason why the scores are 0 or None.
    """

    case: str
    scores: dict[str, float | None]
    volumes_ml: dict[str, float | None]
    note: str = ""

    @property
    def missing(self) -> bool:
        """Whether the case has no prediction."""
        return self.note == MISSING

    @property
    def failed(self) -> bool:
        """Whether the prediction could not be compared with the labels, or the labels could not be read."""
        return bool(self.note) and not self.missing

    @property
    def scored(self) -> bool:
        """Whether the case counts in the means."""
        return self.scores["tk_dice"] is not None


def to_csv(rows: list[CaseScores]) -> str:
    """Returns the rows as CSV text with the columns COLUMNS; unknown values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([row.case, *(_number(row.scores[name], 6) for name in SCORES),
                         *(_number(row.volumes_ml[name], 3) for name in VOLUMES), row.note, SCHEMA])
    return text.getvalue()


def _number(value, digits, unknown=""):
    return unknown if value is None else f"{value:.{digits}f}"


def summarize(rows: list[CaseScores]) -> dict:
    """Computes mean, median and worst case of each score over all scored rows, including zeros of failed predictions.

    Args:
        rows: list of CaseScores, at least one of them scored.

    Returns:
        A JSON-compatible dict: `schema`, `kits_tf_version`, `cases` (number of scored cases), `missing` and `failed`
        (names of cases), `surface_tolerances_mm`, and `scores`, which maps each of SCORES that a case has to `mean`,
        `median` and `worst` (`case` and `score`; the first of several equal cases).
    """
    table = {}
    for name in SCORES:
        values = {row.case: score for row in rows if (score := row.scores[name]) is not None}
        if not values:
            continue
        worst = min(values, key=lambda case: values[case])
        table[name] = {"mean": statistics.fmean(values.values()), "median": statistics.median(values.values()),
                       "worst": {"case": worst, "score": values[worst]}}
    return {
        "schema": SCHEMA,
        "kits_tf_version": kits_tf.__version__,
        "cases": sum(row.scored for row in rows),
        "missing": [row.case for row in rows if row.missing],
        "failed": [row.case for row in rows if row.failed],
        "surface_tolerances_mm": surface.TOLERANCES_MM,
        "scores": table,
    }


def to_json(summary: dict) -> str:
    """Returns the summary as JSON text."""
    return json.dumps(summary, indent=2) + "\n"


def to_table(rows: list[CaseScores], summary: dict) -> str:
    """Formats rows, mean, median and worst cases as text for a terminal, without a final line break."""
    names = list(summary["scores"])
    heads = [HEADS.get(name, name) for name in names]
    widths = [max(len(head), 6) for head in heads]
    name_width = max(len("median"), *(len(row.case) for row in rows))

    def line(name, values, note=""):
        cells = [f"{value:>{width}}" for value, width in zip(values, widths, strict=True)]
        return "  ".join([f"{name:<{name_width}}", *cells, note]).rstrip()

    def numbers(values):
        return [_number(value, 4, "-") for value in values]

    first = sum(name in scores.COLUMNS for name in names)
    dice_width = sum(widths[:first]) + 2 * (first - 1)
    lines = ["  ".join([" " * name_width, f"{'Dice':^{dice_width}}", "surface Dice"]).rstrip(), line("case", heads)]
    lines += [line(row.case, numbers(row.scores[name] for name in names), row.note) for row in rows]
    lines.append("-" * len(lines[1]))
    for statistic in ("mean", "median"):
        lines.append(line(statistic, numbers(summary["scores"][name][statistic] for name in names)))
    lines.append("")
    lines += [f"worst {name}: {table['worst']['score']:.4f} {table['worst']['case']}"
              for name, table in summary["scores"].items()]
    return "\n".join(lines)
