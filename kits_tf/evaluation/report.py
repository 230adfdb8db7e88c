"""Scores over cases: which files belong together, one row per case, mean, median and the worst case of each score.

A folder of predictions and a folder of ground truth go in; rows come out, as CSV, as a JSON summary and as a table
to read. Nothing is left out to make a mean look better: a case without a prediction, or with one that cannot be
compared, scores 0 and says why.
"""

import csv
import dataclasses
import io
import json
import pathlib
import re
import statistics

import numpy as np

from kits_tf.evaluation import scores, surface
from kits_tf.io.nifti import ENDINGS, read_labels, stem
from kits_tf.labels import KIDNEY, TUMOR
from kits_tf.volume import InputError

SCORES = (*scores.COLUMNS, *surface.COLUMNS)
VOLUMES = ("true_kidney_ml", "true_tumor_ml", "predicted_kidney_ml", "predicted_tumor_ml")  # kidney without tumor
COLUMNS = ("case", *SCORES, *VOLUMES, "note")
MISSING = "missing prediction"
PREFIX = "prediction_"
SAME_PLACE_MM = 0.01  # how far a corner may move by the rounding of headers; a shift that matters is 50 times that


@dataclasses.dataclass(frozen=True)
class CaseFiles:
    """What belongs to one case: its name as in the ground truth, its labels, and its prediction or None."""

    case: str
    truth: pathlib.Path
    prediction: pathlib.Path | None


@dataclasses.dataclass(frozen=True)
class CaseScores:
    """One row of the report.

    Attributes:
        case: name of the case, as "case_00210".
        scores: one float from 0 to 1 for each of SCORES.
        volumes_ml: for each of VOLUMES, in ml, or None where there is no prediction to measure.
        note: empty, or why the scores are 0.
    """

    case: str
    scores: dict[str, float]
    volumes_ml: dict[str, float | None]
    note: str = ""

    @property
    def missing(self):
        """Whether there was no prediction."""
        return self.note == MISSING

    @property
    def failed(self):
        """Whether there was a prediction that cannot be compared with the labels."""
        return bool(self.note) and not self.missing


def case_id(name):
    """The part of a name that predictions and labels share: 00210 for prediction_00210, case_00210 and 00210."""
    name = name.removeprefix(PREFIX)
    numbered = re.fullmatch(r"case_(\d+)", name)
    return numbered[1] if numbered else name


def find_cases(predictions, labels, only=None):
    """Pairs ground truth with predictions.

    Args:
        predictions: folder of prediction_<id>.nii.gz (or .nii); if no file is named so, of <case>.nii.gz.
        labels: a study of case_xxxxx/segmentation.nii.gz, or a folder of label files named by case.
        only: names or ids of the cases wanted; None for all.

    Returns:
        (cases, strays): list of CaseFiles sorted by case, and the predictions for which there are no labels; none of
        these where `only` limits the cases.

    Raises:
        InputError: if a folder is missing, there are no labels, two files stand for one case, or a case of `only` has
            no labels.
    """
    truths = _truths(_folder(labels, "--labels"))
    found = _predictions(_folder(predictions, "--predictions"))
    if not truths:
        raise InputError(f"{labels}: no labels here, expected case_xxxxx/segmentation.nii.gz or label files")
    strays = [] if only is not None else [path for identity, path in sorted(found.items()) if identity not in truths]
    wanted = sorted(truths) if only is None else sorted({case_id(case) for case in only})
    unknown = [identity for identity in wanted if identity not in truths]
    if unknown:
        raise InputError(f"{labels}: no labels for case {', '.join(unknown)}, named in --cases")
    cases = [CaseFiles(*truths[identity], found.get(identity)) for identity in wanted]
    return sorted(cases, key=lambda files: files.case), strays


def _folder(path, flag):
    path = pathlib.Path(path)
    if not path.is_dir():
        raise InputError(f"{path}: {'is a file' if path.exists() else 'no such folder'}, {flag} expects a folder")
    return path


def _volumes_in(folder):
    return [path for path in sorted(folder.iterdir())
            if path.is_file() and path.name.lower().endswith(ENDINGS) and not path.name.startswith(".")]


def _truths(folder):
    """{id: (case, path)}."""
    named = [(path.parent.name, path) for ending in ENDINGS for path in folder.glob(f"*/segmentation{ending}")]
    named = named or [(stem(path), path) for path in _volumes_in(folder)]
    named = [(case.removeprefix(PREFIX), path) for case, path in named]
    paths = _unique((case_id(case), path) for case, path in named)
    cases = {path: case for case, path in named}
    return {identity: (cases[path], path) for identity, path in paths.items()}


def _predictions(folder):
    """{id: path}."""
    paths = _volumes_in(folder)
    named = [path for path in paths if path.name.startswith(PREFIX)]
    return _unique((case_id(stem(path)), path) for path in named or paths)


def _unique(pairs):
    found = {}
    for identity, path in pairs:
        if identity in found:
            raise InputError(f"{found[identity]} and {path} both stand for case {identity}")
        found[identity] = path
    return found


def score_case(files):
    """Reads and scores one case.

    Args:
        files: CaseFiles.

    Returns:
        CaseScores; all scores 0 where the prediction is missing, cannot be read as labels, or does not lie where the
        ground truth lies.

    Raises:
        InputError: if the ground truth cannot be read: no score, not even 0, would be fair.
    """
    truth = read_labels(files.truth)
    volumes = dict.fromkeys(VOLUMES) | _volumes_ml("true", truth)
    zeros = dict.fromkeys(SCORES, 0.0)
    if files.prediction is None:
        return CaseScores(files.case, zeros, volumes, MISSING)
    try:
        predicted = read_labels(files.prediction)
        _check_same_place(files.prediction, predicted, truth)
    except InputError as error:
        return CaseScores(files.case, zeros, volumes, str(error))
    found = {**scores.dice_scores(truth.voxels, predicted.voxels),
             **surface.surface_scores(truth.voxels, predicted.voxels, truth.spacing_mm)}
    return CaseScores(files.case, found, volumes | _volumes_ml("predicted", predicted))


def _volumes_ml(whose, labels):
    count = {name: np.count_nonzero(labels.voxels == value) for name, value in (("kidney", KIDNEY), ("tumor", TUMOR))}
    return {f"{whose}_{name}_ml": voxels * labels.voxel_ml for name, voxels in count.items()}


def _check_same_place(path, predicted, truth):
    """Raises InputError unless both volumes have one shape and their corners lie on each other."""
    if predicted.voxels.shape != truth.voxels.shape:
        raise InputError(f"{path}: has shape {predicted.voxels.shape}, its labels have {truth.voxels.shape}")
    corners = np.array([(z, y, x, 1) for z in (0, 1) for y in (0, 1) for x in (0, 1)], float)
    corners[:, :3] *= np.array(truth.voxels.shape) - 1
    shift_mm = np.linalg.norm(corners @ (predicted.affine - truth.affine).T, axis=1).max()
    if shift_mm > SAME_PLACE_MM:
        raise InputError(f"{path}: lies up to {shift_mm:.3g} mm from its labels (their affines differ)")


def to_csv(rows):
    """The rows as CSV text with the columns COLUMNS; what is not known stays empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([row.case, *(f"{row.scores[name]:.6f}" for name in SCORES),
                         *("" if row.volumes_ml[name] is None else f"{row.volumes_ml[name]:.3f}" for name in VOLUMES),
                         row.note])
    return text.getvalue()


def summarize(rows):
    """Mean, median and worst case of each score over all rows, those that score 0 for want of a prediction included.

    Args:
        rows: list of CaseScores, at least one.

    Returns:
        A dict that JSON can hold: `cases`, `missing` and `failed` (names), `surface_tolerances_mm`, and `scores`,
        which maps each of SCORES to `mean`, `median` and `worst` (`case` and `score`; the first of equals).
    """
    table = {}
    for name in SCORES:
        worst = min(rows, key=lambda row: row.scores[name])
        values = [row.scores[name] for row in rows]
        table[name] = {"mean": statistics.fmean(values), "median": statistics.median(values),
                       "worst": {"case": worst.case, "score": worst.scores[name]}}
    return {
        "cases": len(rows),
        "missing": [row.case for row in rows if row.missing],
        "failed": [row.case for row in rows if row.failed],
        "surface_tolerances_mm": surface.TOLERANCES_MM,
        "scores": table,
    }


def to_json(summary):
    """The summary as JSON text."""
    return json.dumps(summary, indent=2) + "\n"


def to_table(rows, summary):
    """The rows, mean, median and worst cases as text to read in a terminal, without a final line break."""
    heads = ("tk_dice", "tu_dice", "composite", "kidney+mass", "mass", "tumor")
    widths = [max(len(head), 6) for head in heads]
    name_width = max(len("median"), *(len(row.case) for row in rows))

    def line(name, values, note=""):
        cells = [f"{value:>{width}}" for value, width in zip(values, widths, strict=True)]
        return "  ".join([f"{name:<{name_width}}", *cells, note]).rstrip()

    def numbers(values):
        return [f"{value:.4f}" for value in values]

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
