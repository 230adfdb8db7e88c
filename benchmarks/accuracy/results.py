"""Writes the scores of all variants: cases.csv (a row per variant and case), results.csv (means) and results.md.

Takes each variant's scores.csv as written by python -m kits_tf.evaluation, and the phase of each case. In results.csv
and results.md, non-contrast cases have their own rows, named <variant>_native.
"""

import csv
import io
import statistics

import numpy as np

from benchmarks.accuracy.protocol import NATIVE
from kits_tf.files.atomic import write_text
from kits_tf.files.own import staged

COLUMNS = {"kidney_dice": "tk_dice", "tumor_dice": "tu_dice", "kidney_surface_dice": "kidney_and_mass_surface_dice",
           "tumor_surface_dice": "tumor_surface_dice"}
PEERS = ("threshold", "nnunet")
RESAMPLES = 10000
INTERVAL = (2.5, 97.5)  # percentiles


def read_scores(path):
    """Reads {case: {column of results.csv: score}} of the scored cases."""
    with open(path, newline="") as stream:
        return {row["case"]: {name: float(row[source]) for name, source in COLUMNS.items()}
                for row in csv.DictReader(stream) if row["tk_dice"]}


def worst(scores, count):
    """Returns the cases with the lowest sum of kidney and tumor Dice, lowest first."""
    return sorted(scores, key=lambda case: scores[case]["kidney_dice"] + scores[case]["tumor_dice"])[:count]


def clearly_best(candidates):
    """Returns the index of the best candidate that is clearly better than the first; 0 if none is.

    A candidate is clearly better if its mean gain over the first, case by case, is above the gain's standard error (the
    one-standard-error rule of Breiman et al. 1984, reversed). With few cases, a smaller gain may be chance, so the
    default, the first candidate, is kept. The best has the highest mean gain.

    Args:
        candidates: lists of scores of the same cases in the same order; with a single case the result is 0.
    """
    if len(candidates[0]) < 2:
        return 0
    gains = [[score - usual for score, usual in zip(scores, candidates[0], strict=True)] for scores in candidates]
    clear = [place for place, gain in enumerate(gains)
             if statistics.fmean(gain) > statistics.stdev(gain) / len(gain) ** 0.5]
    return max(clear, key=lambda place: statistics.fmean(gains[place]), default=0)


def bootstrap(values, seed=0):
    """Returns the bootstrap 95 % interval of the mean over cases: (low, high)."""
    drawn = np.random.default_rng(seed).choice(values, (RESAMPLES, len(values)))
    return tuple(float(edge) for edge in np.percentile(drawn.mean(axis=1), INTERVAL))


def split_by_contrast(name, scores, phases):
    """Returns [(row's name, {case: scores})]: contrast-enhanced, then non-contrast; empty parts are left out."""
    parts = ((name, {case: row for case, row in scores.items() if phases[case] != NATIVE}),
             (f"{name}_{NATIVE}", {case: row for case, row in scores.items() if phases[case] == NATIVE}))
    return [part for part in parts if part[1]]


def to_csv(parts):
    """Returns the text of results.csv: the means."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", *COLUMNS, "cases"])
    for name, scores in parts:
        means = [statistics.fmean(row[column] for row in scores.values()) for column in COLUMNS]
        writer.writerow([name, *(f"{mean:.4f}" for mean in means), len(scores)])
    return text.getvalue()


def to_case_csv(scores, phases):
    """Returns the text of cases.csv: the scores of every case."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "case", "phase", *COLUMNS])
    for name, rows in scores.items():
        writer.writerows([name, case, phases[case], *(f"{row[column]:.4f}" for column in COLUMNS)]
                         for case, row in rows.items())
    return text.getvalue()


def read_case_csv(path):
    """Reads the scores that to_case_csv wrote; {} if there is no file."""
    scores: dict = {}
    if path.exists():
        with open(path, newline="") as stream:
            for row in csv.DictReader(stream):
                scores.setdefault(row["variant"], {})[row["case"]] = {name: float(row[name]) for name in COLUMNS}
    return scores


def to_table(parts, descriptions):
    """Returns a Markdown table of every score's mean, 95 % interval, median and worst case."""
    lines = ["| variant | what | cases | score | mean | 95 % interval | median | worst |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for name, scores in parts:
        for column in COLUMNS:
            values = {case: row[column] for case, row in scores.items()}
            low, high = bootstrap(list(values.values()))
            worst = min(values, key=values.get)
            lines.append(
                f"| {name} | {descriptions.get(name.removesuffix(f'_{NATIVE}'), '')} | {len(values)} | {column} | "
                f"{statistics.fmean(values.values()):.3f} | {low:.3f} to {high:.3f} | "
                f"{statistics.median(values.values()):.3f} | {values[worst]:.3f} ({worst}) |")
    return "\n".join(lines) + "\n"


def write(folder, scores, phases, descriptions, overwrite=False):
    """Writes cases.csv, results.csv and results.md.

    Keeps the rows of a peer that are in the folder's cases.csv and not in `scores`, if all its cases are in `phases`: a
    peer may have run elsewhere, on another day. Drops variants of ours that were not run, since their rows are of
    earlier nets.

    Args:
        folder: the folder to write to.
        scores: {variant: scores as in read_scores}.
        phases: {case: phase}.
        descriptions: {variant: description}, in the order of the rows.
        overwrite: whether to write over files that this program did not write (kits_tf.files.own).
    """
    kept = {name: rows for name, rows in read_case_csv(folder / "cases.csv").items()
            if name in PEERS and set(rows) <= set(phases)}
    scores = kept | scores
    scores = {name: scores[name] for name in descriptions if name in scores}
    parts = [part for name, rows in scores.items() for part in split_by_contrast(name, rows, phases)]
    with staged(folder, overwrite) as staging:
        write_text(staging / "cases.csv", to_case_csv(scores, phases))
        write_text(staging / "results.csv", to_csv(parts))
        write_text(staging / "results.md", to_table(parts, descriptions))
