"""Scores a study: pairs predictions with ground truth, scores each case and writes the results.

Takes a folder of predictions and a folder of ground truth; writes scores.csv and summary.json and prints a table.
"""

import dataclasses
import difflib
import pathlib
import sys
from collections.abc import Iterable

import numpy as np
import tqdm

from kits_tf import cluster
from kits_tf.errors import InputError
from kits_tf.evaluation import scores, surface, tables
from kits_tf.evaluation.tables import MASSES, MISSING, SCORES, VOLUMES, CaseScores
from kits_tf.files.atomic import write_text
from kits_tf.files.lock import only_writer
from kits_tf.files.own import check_own, staged
from kits_tf.labels import KIDNEY, TUMOR
from kits_tf.quiet import say, warn
from kits_tf.scans import formats, layouts
from kits_tf.scans.discovery import PREFIX, Case, check_name, short_name, stem
from kits_tf.scans.label_map import KITS19, LabelMap
from kits_tf.volume import check_same_place


@dataclasses.dataclass(frozen=True)
class CaseFiles:
    """The files of one case.

    Attributes:
        case: its name in the ground truth.
        truth: its true labels.
        prediction: its prediction, or None.
        labels: the meaning of the values in `truth`.
        predicted: the meaning of the values in `prediction`.
    """

    case: str
    truth: pathlib.Path
    prediction: pathlib.Path | None
    labels: LabelMap = KITS19
    predicted: LabelMap = KITS19


def case_id(name: str) -> str:
    """Returns the id that predictions and labels share: 00210 for prediction_00210, case_00210 and 00210."""
    return short_name(name.removeprefix(PREFIX))


def find_cases(predictions: str | pathlib.Path, labels: layouts.Given,
               only: Iterable[str] | None = None) -> tuple[list[CaseFiles], list[pathlib.Path]]:
    """Pairs ground truth with predictions, and says how the ground truth was understood.

    Args:
        predictions: folder of prediction_<id>.nii.gz (or .nii, .nrrd, .mha) with the values 0, 1 and 2; if it has no
            such file, of <case>.nii.gz with the values of the ground truth.
        labels: a data set in a layout of scans.layouts, or a folder of label files named by case.
        only: names or ids of the cases to score; None for all.

    Returns:
        (cases, strays): list of CaseFiles sorted by case, and the paths of predictions without labels; strays is empty
        if `only` is given.

    Raises:
        InputError: if a folder is missing, there are no labels, two files belong to one case, a case of `only` has no
            labels, or no case has a prediction.
    """
    data = layouts.DataSet.of(labels)
    labels, truths = data.path, _truths(data)
    found = _predictions(_folder(predictions, "--predictions"))
    if not truths:
        raise InputError(f"{labels}: contains no labels; expected case_xxxxx/segmentation.nii.gz or label files")
    strays = [] if only is not None else [path for identity, path in sorted(found.items()) if identity not in truths]
    wanted = sorted(truths) if only is None else sorted({case_id(case) for case in only})
    unknown = [identity for identity in wanted if identity not in truths]
    if unknown:
        raise InputError(f"{labels}: no labels for case {', '.join(unknown)}, named in --cases")
    ours = any(path.name.startswith(PREFIX) for path in found.values())
    cases = [CaseFiles(case.name, case.segmentation, found.get(identity), case.labels, KITS19 if ours else case.labels)
             for identity in wanted for case in [truths[identity]]]
    if all(files.prediction is None for files in cases):
        raise InputError(_nothing_fits(predictions, labels, wanted, found, truths))
    return sorted(cases, key=lambda files: files.case), strays


def _nothing_fits(predictions, labels, wanted, found, truths):
    """Returns the message for predictions of which none belongs to a wanted case: it names the nearest names."""
    if not found:
        return f"{predictions}: holds no prediction, expected {PREFIX}<id>.nii.gz"
    if not set(found).isdisjoint(truths):
        return f"{predictions}: holds no prediction of case {', '.join(wanted)}, named in --cases"
    ranked = [(_number(identity) == _number(name) != "", difflib.SequenceMatcher(None, identity, name).ratio(), name,
               path.name)
              for identity, path in list(found.items())[:100] for name in wanted[:1000]]
    *_, name, file = max(ranked)
    return (f"{predictions}: none of its {len(found)} predictions is named as a case of {labels}; nearest are {file} "
            f"and case {name}, which would be {PREFIX}{name}.nii.gz; rename the files")


def _number(name):
    """Returns the digits in a name without leading zeros: "7" for case_00007 and 7_pred; empty if there are none."""
    digits = "".join(filter(str.isdecimal, name))
    return digits and (digits.lstrip("0") or "0")


def _folder(path, flag):
    path = pathlib.Path(path)
    if not path.is_dir():
        raise InputError(f"{path}: {'is a file' if path.exists() else 'no such folder'}, {flag} expects a folder")
    return path


def _truths(data):
    """Returns {id: Case}."""
    path = _folder(data.path, "--labels")
    found = layouts.find_truths(data)
    if found.cases and found.layout != "kits19":
        say(found.summary)
    cases: dict[str, Case] = {}
    for case in found.cases:
        case.check_single()
        case = dataclasses.replace(case, name=case.name.removeprefix(PREFIX))
        check_name(case.name, path)
        other = cases.setdefault(case_id(case.name), case)
        if other is not case:
            raise InputError(f"{other.segmentation} and {case.segmentation} both belong to case {case_id(case.name)}; "
                             f"remove one")
    return cases


def _predictions(folder):
    """Returns {id: path}."""
    paths = layouts.volume_files(folder)
    named = [path for path in paths if path.name.startswith(PREFIX)]
    return _unique((case_id(stem(path)), path) for path in named or paths)


def _unique(pairs):
    found = {}
    for identity, path in pairs:
        if identity in found:
            raise InputError(f"{found[identity]} and {path} both belong to case {identity}; remove one")
        found[identity] = path
    return found


def score_case(files: CaseFiles) -> CaseScores:
    """Reads and scores one case.

    Args:
        files: CaseFiles.

    Returns:
        CaseScores; all scores are 0 if the prediction is missing, cannot be read as labels, or differs from the ground
        truth in geometry.

    Raises:
        InputError: if the ground truth cannot be read: then no score, not even 0, is fair.
    """
    truth, cysts = formats.read_labels(files.truth, files.labels)
    volumes = dict.fromkeys(VOLUMES) | _volumes_ml("true", truth)
    zeros = dict.fromkeys(SCORES, 0.0) | ({} if cysts is not None else dict.fromkeys(MASSES))
    if files.prediction is None:
        return CaseScores(files.case, zeros, volumes, MISSING)
    try:
        predicted, drawn = formats.read_labels(files.prediction, files.predicted)
        check_same_place(files.prediction, predicted, truth)
    except InputError as error:
        return CaseScores(files.case, zeros, volumes, str(error))
    found: dict[str, float | None] = {
        **scores.dice_scores(truth.voxels, predicted.voxels),
        **surface.surface_scores(truth.voxels, predicted.voxels, truth.spacing_mm)}
    if cysts is not None:
        masses = scores.masses(truth.voxels, cysts), scores.masses(predicted.voxels, drawn)
        found |= {"mass_dice": scores.dice(*masses),
                  "mass_surface_dice": surface.mass_surface_dice(*masses, truth.spacing_mm)}
    return CaseScores(files.case, zeros | found, volumes | _volumes_ml("predicted", predicted))


def _volumes_ml(whose, labels):
    count = {name: np.count_nonzero(labels.voxels == value) for name, value in (("kidney", KIDNEY), ("tumor", TUMOR))}
    return {f"{whose}_{name}_ml": voxels * labels.voxel_ml for name, voxels in count.items()}


def score_files(files: CaseFiles) -> dict:
    """Scores one case in a worker. Returns CaseScores as a dict."""
    return dataclasses.asdict(score_case(files))


def evaluate_study(predictions: str | pathlib.Path, labels: layouts.Given, output: str | pathlib.Path,
                   only: Iterable[str] | None = None, place: cluster.Place = cluster.HERE,
                   overwrite: bool = False) -> int:
    """Scores all cases, writes scores.csv and summary.json, and then prints the table.

    Args:
        predictions: folder of predictions.
        labels: ground truth, a data set or a folder of label files, or its path alone.
        output: folder to write to; created if missing.
        only: names or ids of the cases to score; None for all.
        place: where the cases are processed.
        overwrite: whether to write over files that this program did not write (kits_tf.files.own).

    Returns:
        The exit status: 0, or 1 if a prediction could not be compared or ground truth could not be read.

    Raises:
        InputError: if a folder is missing, no prediction belongs to a case, no case could be scored, the scheduler is
            lost, another run writes to the output folder, it cannot be written to, or has such files of the user's.
    """
    truth = layouts.DataSet.of(labels, place.path)
    cases, strays = find_cases(place.path(predictions), truth, only)
    with only_writer(output):  # locks before the work, so that a conflict shows at once
        check_own([pathlib.Path(output) / name for name in ("scores.csv", "summary.json")], overwrite)
        for stray in strays:
            warn(f"{stray}: no labels, not scored")
        rows = _score_all(cases, place)
        if not any(row.scored for row in rows):
            raise InputError(f"{truth.path}: no case could be scored")
        summary = tables.summarize(rows)
        with staged(output, overwrite) as folder:
            write_text(folder / "scores.csv", tables.to_csv(rows))
            write_text(folder / "summary.json", tables.to_json(summary))
    print(tables.to_table(rows, summary))
    return 1 if summary["failed"] else 0


def _score_all(cases, place):
    """Returns the CaseScores of paired cases, in their order."""
    jobs = [cluster.Job(files.case, {"files": files}) for files in cases]
    found: dict[str, CaseScores] = {}
    for done in cluster.run(score_files, jobs, "scoring", place):
        if done.result is not None:
            row = CaseScores(**done.result)
            if row.note:
                tqdm.tqdm.write(f"warning: {row.case}: scored 0: {row.note}", file=sys.stderr)
        else:
            row = CaseScores(done.name, dict.fromkeys(SCORES), dict.fromkeys(VOLUMES), str(done.failure))
        found[row.case] = row
    return [found[files.case] for files in cases]
