"""A folder of predictions: predicts one case and writes its files, and checks whether existing files are up to date.

    prediction_<id>.nii.gz    labels in the scan's own geometry; also .nrrd or .mha, as the scan is or as asked for
    prediction_<id>.dcm       labels as a DICOM segmentation (optional, DICOM series only)
    prediction_<id>.png       overlay (optional)
    prediction_<id>.html      web page with a viewer (optional)
    prediction_<id>.json      the cascade's decisions, measurements, and the inputs of all files; written last

With Settings.names "case", every file is named <case> instead of prediction_<id>. The JSON report records the scan,
model and settings, what the nets were computed with, and facts of the files beside it. If all are unchanged, the case
is skipped, whatever --xla=auto and --precision=auto chose where it was made. The report has no date and no duration, so
that a case gives the same bytes whenever it runs. A case's new files replace the old ones when all of them are whole.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import threading
import typing
from collections.abc import Callable, Iterable

import numpy as np

import kits_tf
from kits_tf import cluster, lazy, serving
from kits_tf.errors import InputError, RunError
from kits_tf.evaluation.scores import dice_scores
from kits_tf.files.atomic import write_text
from kits_tf.files.checksums import file_facts
from kits_tf.files.own import check_own, is_own, staged
from kits_tf.labels import BACKGROUND, KIDNEY, TUMOR
from kits_tf.reporting.plausibility import result_warnings
from kits_tf.scans import formats
from kits_tf.scans.discovery import PREFIX, Case
from kits_tf.scans.label_map import KITS19
from kits_tf.volume import Volume, check_same_place

SCHEMA = 1  # of the reports, summary.csv and findings.csv; raise it when a key or column goes or means something else
VERSION = 5  # raise it when the same scan and model would give different labels, a different report, overlay or page
FORMATS = {"nifti": ".nii.gz", "nrrd": ".nrrd", "mha": ".mha", "dicomseg": ".dcm"}
SAME = "same"  # the scan's own format, NIfTI for DICOM
CLASSES = (BACKGROUND, KIDNEY, TUMOR)
NO_SERIES = "is not a DICOM series; --output_format=dicomseg needs one"
FOUND = ("kidneys", "kidney_ml", "tumor_ml", "correction_used", "tumor_fallback_used", "lesions_kept",
         "lesions_dropped", "tumors", "largest_tumor_mm", "tk_dice", "tu_dice")  # the report's keys in summary.csv
MADE_BY = ("kits_tf_version", "model_version", "model_sha256", "schema")  # in every report and row
SUMMARY = ("case", "status", *FOUND, "seconds", "message", *MADE_BY)  # columns of summary.csv, one row per case
# Columns of findings.csv, one row per kidney or tumor (measurements.py); columns that do not apply are empty.
MEASURED = ("case", "what", "side", "centre_zyx", "volume_ml", "tumor_ml", "tumor_share", "diameter_axial_mm",
            "diameter_mm", "slice", "confidence", "schema")
# Cases of one process overlap: while the nets compute on one scan, which uses the whole machine, the previous case is
# measured and written and the next one is read. Matplotlib may draw in only one thread at a time.
_computing, _drawing = threading.Lock(), threading.Lock()
ALONE_VOXELS = 2**27  # a larger scan (512 slices of 512 x 512) is written before the next is predicted, to save memory


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a prediction run.

    Attributes:
        source: path of an export's version, or a server that holds the cascade.
        model: fingerprint of that model.
        output: folder to write to.
        xla: as in Predictor.
        overlay: whether to draw a PNG.
        report: whether to write a web page. The page also shows the case's ground truth and scores, if there are any.
        formats: names from FORMATS or SAME, the file formats of the labels.
        precision: what the nets compute in, "float32" or "bfloat16"; "auto" leaves it to a server.
        precision_asked: whether the user asked for it, so that cases that were computed otherwise are redone.
        overwrite: whether to write over files that are not is_own (kits_tf.files.own).
        anonymous: whether to leave the names of files out, and the texts that a scan's header may hold. The cases must
            be named_by_content.
        names: "prediction" for prediction_<id>, as KiTS19 wants it, or "case" for the case's own name and the values
            of its data set (Case.labels), as nnU-Net and KiTS23 want it.
    """

    source: pathlib.Path | serving.Server
    model: str
    output: pathlib.Path
    xla: str = "auto"
    overlay: bool = True
    report: bool = False
    formats: tuple[str, ...] = ("nifti",)
    precision: str = "auto"
    precision_asked: bool = False
    overwrite: bool = False
    anonymous: bool = False
    names: str = "prediction"

    def target(self, case: Case, ending: str) -> pathlib.Path:
        """Returns the path of a case's file with an ending such as ".nii.gz"."""
        name = f"{PREFIX}{case.short_name}" if self.names == "prediction" else case.name
        return self.output / f"{name}{ending}"

    def formats_of(self, case: Case) -> list[str]:
        """Returns the names from FORMATS of a case's labels, sorted."""
        own = next(name for name, ending in FORMATS.items() if ending == formats.ending_like(case))
        return sorted({own if name == SAME else name for name in self.formats})

    def endings(self, case: Case) -> tuple[str, ...]:
        """Returns the endings of a case's files, without the report's."""
        return (*(FORMATS[name] for name in self.formats_of(case)), *[".png"] * self.overlay, *[".html"] * self.report)

    def values_of(self, case: Case) -> tuple[int, ...]:
        """Returns the value of each of CLASSES in a case's labels.

        Raises:
            InputError: if the data set has no single value for a class. The message does not name the case.
        """
        if self.names == "prediction":
            return CLASSES
        values = [case.labels.value_of(class_id) for class_id in CLASSES]
        if None in values:
            raise InputError(f"--names=case: the labels of the data set, {case.labels}, have not one value for kidney "
                             f"and one for tumor; leave --names out, or say which to write by --labels")
        return tuple(value for value in values if value is not None)

    def made_by(self) -> dict:
        """Returns the values of MADE_BY."""
        version = self.source.version if isinstance(self.source, serving.Server) else self.source.name
        return dict(zip(MADE_BY, (kits_tf.__version__, str(version), self.model, SCHEMA), strict=True))


def named_by_content(cases: Iterable[Case]) -> list[Case]:
    """Returns the cases, each named by its scan's SHA-256, so that no name says whose scan it is.

    Raises:
        InputError: if two cases have the same scan.
    """
    named: dict[str, Case] = {}
    for number, case in enumerate(cases):
        try:
            facts = json.dumps(formats.facts_of(case))
            name = hashlib.sha256(facts.encode()).hexdigest()[:16]
        except InputError:  # it fails when it is read
            name = f"unreadable-{number}"
        if name in named:
            raise InputError(f"{named[name].imaging} and {case.imaging} are the same scan, and --anonymous names cases "
                             f"by their scans; take one away")
        named[name] = dataclasses.replace(case, name=name)
    return list(named.values())


def check_names(cases: Iterable[Case], settings: Settings) -> None:
    """Checks that cases can be written under their own names.

    Raises:
        InputError: if an output would have the name of a table or of a scan's file, or as Settings.values_of.
    """
    for case in cases:
        settings.values_of(case)
        if case.name in ("summary", "findings", "report"):
            raise InputError(f"--names=case: {case.imaging} would be written under the name of a table; rename it")
        if case.imaging.parent.resolve() == settings.output.resolve():
            raise InputError(f"--names=case: --output={settings.output} is the folder of the scans, whose names the "
                             f"labels would have; choose another --output")


def predict_case(case: Case, settings: Settings, tell: Callable[[str], None] = lambda step: None) -> dict:
    """Predicts one case and writes its files, unless they are up to date.

    Args:
        case: the case.
        settings: of the run.
        tell: called with "reading", "segmenting" and "measuring" as these steps begin.

    Returns:
        dict: the case's row of summary.csv. `status` is "done", "redone" if the case already had a report,
            "unchanged", or "incomplete" if one of the files could not be made; `measured` has its rows of MEASURED.

    Raises:
        InputError: if the scan cannot be used, or a file is in the way that is not is_own; all files of the case stay.
        RunError: if the model cannot be loaded or the files cannot be written.
    """
    made_from = {"scan": formats.facts_of(case), "model": settings.model, "version": VERSION,
                 "formats": settings.formats_of(case)}
    if settings.values_of(case) != CLASSES:
        made_from["values"] = [str(value) for value in settings.values_of(case)]
    if settings.report and case.segmentation:
        made_from["truth"] = file_facts(case.segmentation)
        if case.labels != KITS19:
            made_from["truth_labels"] = str(case.labels)
    report, message = None if case.doubles or case.strange else _kept_report(case, settings, made_from), []
    status = "unchanged" if report else "redone" if settings.target(case, ".json").exists() else "done"
    if report is None:
        check_own([settings.target(case, ending) for ending in (*settings.endings(case), ".json")],
                  settings.overwrite)
        report = _make(case, settings, made_from, tell)
        message = _remove_others(case, settings, report["files"])
    status = "incomplete" if report.get("missing") else status
    return {"case": case.name, "status": status, **{name: report.get(name) for name in (*FOUND, *MADE_BY)},
            "message": " ".join([*report["warnings"], *message]), "measured": _measured(case, report["findings"])}


def failed_row(case: Case, settings: Settings, failure: str | None) -> dict:
    """Returns the row of summary.csv of a case that failed, whose files, if there are any, are of an earlier run."""
    message = "the run printed why" if settings.anonymous else str(failure)
    if any(os.path.lexists(settings.target(case, ending)) for ending in (".json", *FORMATS.values())):
        message += "; its files here are of an earlier run"
    return {"case": case.name, "status": "failed", **settings.made_by(), "message": message}


def page_row(case: Case, settings: Settings, row: dict) -> dict:
    """Returns a case's row for the page of the run: with its picture and its page, if they are of this run."""
    if row["status"] == "failed":
        return row
    return {**row, "picture": settings.target(case, ".png"), "page": settings.target(case, ".html").name}


def _remove_others(case, settings, made):
    """Removes earlier files of a case of kinds that were not made this time; returns a note on each that is kept."""
    kept = []
    for ending in (*FORMATS.values(), ".png", ".html"):
        path = settings.target(case, ending)
        if made.get(path.name):
            continue
        if is_own(path):
            path.unlink(missing_ok=True)
        else:
            kept.append(f"{path.name} is not of this run: it was not written by this program or was changed since, and "
                        f"is kept.")
    return kept


def _measured(case, findings):
    """Returns one row of MEASURED per kidney, then one per tumor, in the report's order."""
    return [{"case": case.name, "what": what, "schema": SCHEMA, **found}
            for what in ("kidney", "tumor") for found in findings[f"{what}s"]]


def _kept_report(case, settings, made_from):
    """Returns the case's report if it has the same inputs and its files are unchanged, else None."""
    try:
        report = json.loads(settings.target(case, ".json").read_text(encoding="utf-8"))
        if report["made_from"] != made_from or not {"warnings", "findings"} <= report.keys():
            return None
        if settings.xla != "auto" and report["computed"]["xla"] != (settings.xla == "on"):
            return None
        if settings.precision_asked and report["computed"]["precision"] != settings.precision:
            return None
        files = report["files"]
        paths = [settings.target(case, ending) for ending in settings.endings(case)]
        return report if all(files[path.name] == file_facts(path) for path in paths) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Result(typing.NamedTuple):
    """A scan and what was predicted for it."""

    scan: Volume
    slices: list | None  # the datasets of a DICOM series
    labels: Volume
    found: dict  # the report (predictor.explain)


def _make(case, settings, made_from, tell):
    tell("reading")
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        loading = beside.submit(load, settings)
        scan, slices = _read(case, settings)
        predictor = loading.result()
        beside.submit(_import_for_writing, settings)
        with contextlib.ExitStack() as nets:
            nets.enter_context(_computing)
            tell("segmenting")
            with _named(case):
                labels, found = predictor.explain(scan)
            if scan.voxels.size <= ALONE_VOXELS:
                nets.close()  # lets another case use the nets
            tell("measuring")
            return _write(case, settings, made_from, predictor, Result(scan, slices, labels, found))


def _read(case, settings):
    """Returns the scan, and its series' slices or None."""
    scan, slices = formats.read_scan(case)
    if slices is None and settings.formats_of(case) == ["dicomseg"]:
        raise InputError(f"{case.imaging}: {NO_SERIES}")
    return scan, slices


def _import_for_writing(settings):
    """Imports what writes a case's files, while the nets compute: SciPy, Matplotlib and others take a second."""
    for module in ("measurements", *["overlay"] * settings.overlay, *["pages"] * settings.report):
        lazy.load(f"kits_tf.reporting.{module}")


@contextlib.contextmanager
def _named(case):
    """Adds the scan's path to an InputError; RunError passes unchanged."""
    try:
        yield
    except RunError:
        raise
    except InputError as error:
        raise InputError(f"{case.imaging}: {error}") from error


def _write(case, settings, made_from, predictor, result):
    """Writes all files of a case, its report last, and returns the report."""
    scan, slices, labels, found = result
    with staged(settings.output, settings.overwrite) as folder:
        here, missing = dataclasses.replace(settings, output=folder), {}
        written = labels
        if settings.values_of(case) != CLASSES:
            written = labels.with_voxels(np.array(settings.values_of(case), np.uint8)[labels.voxels])
        for name in settings.formats_of(case):
            if name != "dicomseg":
                formats.write_labels(here.target(case, FORMATS[name]), written, case, plain=settings.anonymous)
        if "dicomseg" in settings.formats:
            missing = _write_segmentation(here.target(case, ".dcm"), case, settings, labels, slices)
        if settings.overlay:
            with _drawing:
                lazy.load("kits_tf.reporting.overlay").draw_overlay(here.target(case, ".png"), scan, labels, case.name)
        measurements = lazy.load("kits_tf.reporting.measurements")
        findings = measurements.measure(labels, scan)
        measurements.add_confidence(findings, found)
        found["warnings"] += result_warnings(findings, scan)
        found["warnings"] += [f"{name} was not written: {why}." for name, why in missing.items()]
        report = {"case": case.name, "input": None if settings.anonymous else str(case.imaging), **settings.made_by(),
                  "model": str(predictor.path), "preset": predictor.config.preset, "computed": predictor.computed,
                  "shape_zyx": list(scan.voxels.shape), "spacing_mm_zyx": list(scan.spacing_mm), **found,
                  "tumors": len(findings["tumors"]),
                  "largest_tumor_mm": max((tumor["diameter_axial_mm"] for tumor in findings["tumors"]), default=None),
                  "findings": findings, **({"missing": missing} if missing else {})}
        if settings.report:
            truth = _truth(case, settings, scan, report["warnings"])
            if truth:
                report |= dice_scores(truth.voxels, labels.voxels)
            pages = lazy.load("kits_tf.reporting.pages")
            pages.write_case_page(here.target(case, ".html"), scan, labels, report, truth,
                                  here.target(case, ".png").name if settings.overlay else None,
                                  predictor.config.window_hu)
        paths = [here.target(case, ending) for ending in settings.endings(case)]
        report |= {"made_from": made_from, "files": {path.name: file_facts(path) for path in paths}}
        write_text(here.target(case, ".json"), json.dumps(report, indent=2) + "\n")
    return report


def _write_segmentation(path, case, settings, labels, slices):
    """Writes the DICOM segmentation; returns {file name: reason} if it cannot be made but other labels can."""
    try:
        if slices is None:
            raise InputError(NO_SERIES)
        lazy.load("kits_tf.scans.segmentation").write_segmentation(path, labels, slices, f"model {settings.model[:16]}")
    except RunError:
        raise
    except InputError as error:
        if settings.formats_of(case) == ["dicomseg"]:
            raise InputError(f"{case.imaging}: {error}") from error
        return {path.name: str(error)}
    return {}


def _truth(case, settings, scan, warnings):
    """Returns the case's ground truth or None. Ground truth that cannot be used adds a warning instead of an error."""
    if case.segmentation is None:
        return None
    try:
        truth, _ = formats.read_labels(case.segmentation, case.labels)
        check_same_place(case.segmentation, truth, scan, "scan")
    except InputError as error:
        warnings.append("The ground truth was not used" + (f": {error}." if not settings.anonymous else "."))
        return None
    return truth


def load(settings: Settings) -> typing.Any:
    """Returns the predictor of the settings, loaded once per process.

    Raises:
        RunError: if it cannot be loaded, because then no case can be predicted.
    """
    try:
        return cluster.once(serving.open_predictor, settings.source, settings.xla, settings.precision,
                            version=settings.model)
    except InputError as error:
        raise RunError(str(error)) from error
