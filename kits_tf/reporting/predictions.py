"""A folder of predictions: how one case gets there, and whether what is there still stands for its scan.

    prediction_<id>.nii.gz    labels in the scan's own geometry
    prediction_<id>.dcm       the same as a DICOM segmentation, if wanted, of a DICOM series
    prediction_<id>.png       overlay, if wanted
    prediction_<id>.html      page to slide through the slices, if wanted
    prediction_<id>.json      what the cascade decided, measurements, and what all this was made from; written last

A report stands for the files beside it: made from the same scan, model and settings, and unchanged since, they are not
made again. It holds no date and no duration, so that a case gives the same bytes wherever and whenever it is run.
"""

import contextlib
import dataclasses
import json
import pathlib
import threading
import typing

from kits_tf import cluster, serving
from kits_tf.errors import InputError, RunError
from kits_tf.evaluation.scores import dice_scores
from kits_tf.files.atomic import write_text
from kits_tf.files.checksums import file_facts, folder_digest
from kits_tf.reporting.measurements import measure
from kits_tf.reporting.overlay import draw_overlay
from kits_tf.reporting.pages import write_case_page
from kits_tf.scans import dicom
from kits_tf.scans.discovery import PREFIX, Case, is_series
from kits_tf.scans.nifti import pair_of, read_labels, read_volume, write_labels, write_volume
from kits_tf.volume import check_same_place

VERSION = 3  # of what is written: to be raised when the same scan and model would get other labels, report or overlay
FORMATS = {"nifti": ".nii.gz", "dicomseg": ".dcm"}
FOUND = ("kidneys", "kidney_ml", "tumor_ml", "correction_used", "tumor_fallback_used", "lesions_kept",
         "lesions_dropped", "tumors", "largest_tumor_mm", "tk_dice", "tu_dice")  # of the report, in the summary
# Of a kidney or a tumor (measurements.py), in findings.csv; what one of the two does not have stays empty there.
MEASURED = ("case", "what", "side", "volume_ml", "tumor_ml", "tumor_share", "diameter_axial_mm", "diameter_mm", "slice")
# Cases that overlap in a process: while the nets compute on one scan, which takes all of a machine, what another became
# is measured and written and the next is read. Matplotlib draws in one thread at a time.
_computing, _drawing = threading.Lock(), threading.Lock()
ALONE_VOXELS = 2**27  # a scan of more, 512 slices of 512 x 512, is written before the nets see another: memory


@dataclasses.dataclass(frozen=True)
class Settings:
    """How cases are predicted.

    Attributes:
        source: the version of an export, or a server that holds one.
        model: fingerprint of that model.
        xla: as Predictor's.
        overlay: whether a picture is wanted.
        formats: out of FORMATS, what labels are written as.
        page: whether a web page is wanted; it shows the case's ground truth too, and scores, where there is one.
        output: folder to write to.
    """

    source: pathlib.Path | serving.Server
    model: str
    xla: str
    overlay: bool
    page: bool
    formats: tuple[str, ...]
    output: pathlib.Path

    def target(self, case: Case, ending: str) -> pathlib.Path:
        """The file of a case with an ending, as ".nii.gz"."""
        return self.output / f"{PREFIX}{case.short_name}{ending}"

    def endings(self) -> tuple[str, ...]:
        """Of the files that a case gets beside its report."""
        return (*(FORMATS[name] for name in self.formats), *[".png"] * self.overlay, *[".html"] * self.page)


def predict_case(case: Case, settings: Settings) -> dict:
    """One case from NIfTI to NIfTI, unless it is done already.

    Returns:
        dict: its row of the summary; `status` is "done", "redone" if there was a report of it already, or "unchanged";
            `measured` its rows of MEASURED.

    Raises:
        InputError: for a scan that cannot be used; no file of the case is there then.
        RunError: if the model cannot be loaded or nothing can be written.
    """
    made_from = {"scan": _facts(case.imaging), "model": settings.model, "xla": settings.xla, "version": VERSION,
                 "formats": sorted(settings.formats)}
    if settings.page and case.segmentation:
        made_from["truth"] = file_facts(case.segmentation)
    report = None if case.doubles else _standing(case, settings, made_from)
    status = "unchanged" if report else "redone" if settings.target(case, ".json").exists() else "done"
    if report is None:
        # What is there stands for another scan, or was made otherwise.
        for ending in (".json", *FORMATS.values(), ".png", ".html"):
            settings.target(case, ending).unlink(missing_ok=True)
        report = _make(case, settings, made_from)
    return {"case": case.name, "status": status, **{name: report.get(name) for name in FOUND},
            "message": " ".join(report["warnings"]), "measured": _measured(case, report["findings"])}


def _measured(case, findings):
    """A row of MEASURED per kidney, then per tumor, in the report's order."""
    return [{"case": case.name, "what": what, **found}
            for what in ("kidney", "tumor") for found in findings[f"{what}s"]]


def _standing(case, settings, made_from):
    """The report of a case that was made from the same and whose files are as they were written, or None."""
    try:
        report = json.loads(settings.target(case, ".json").read_text(encoding="utf-8"))
        if report["made_from"] != made_from or not {"warnings", "findings"} <= report.keys():
            return None
        files = report["files"]
        paths = [settings.target(case, ending) for ending in settings.endings()]
        return report if all(files[path.name] == file_facts(path) for path in paths) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _facts(path):
    """As file_facts; of a folder, one digest for all that is in it; of a header and its voxels in two files, both's."""
    if path.is_dir():
        return {"sha256": folder_digest(path.absolute().parent, [path.absolute().name])}
    halves = pair_of(path)
    return [file_facts(half) for half in halves] if halves else file_facts(path)


def _make(case, settings, made_from):
    case.check_single()
    slices = None
    if is_series(case.imaging):
        scan, slices = dicom.read_series(case.imaging)
    else:
        scan = read_volume(case.imaging)
    if "dicomseg" in settings.formats and slices is None:
        raise InputError(f"{case.imaging}: is no DICOM series, of which alone --output_format=dicomseg can be made")
    predictor = load(settings)
    with contextlib.ExitStack() as nets:
        nets.enter_context(_computing)
        with _named(case):
            labels, found = predictor.explain(scan)
        if scan.voxels.size <= ALONE_VOXELS:
            nets.close()  # another may have them
        return _write(case, settings, made_from, predictor, scan, slices, labels, found)


@contextlib.contextmanager
def _named(case):
    """What is wrong with a scan is said after its path."""
    try:
        yield
    except RunError:
        raise
    except InputError as error:
        raise InputError(f"{case.imaging}: {error}") from error


def _write(case, settings, made_from, predictor, scan, slices, labels, found):
    """All files of a case, its report last: what the report says."""
    if "dicomseg" in settings.formats:
        with _named(case):
            dicom.write_segmentation(settings.target(case, ".dcm"), labels, slices, f"model {settings.model[:16]}")
    if "nifti" in settings.formats and slices is not None:
        write_volume(settings.target(case, ".nii.gz"), labels)
    elif "nifti" in settings.formats:
        write_labels(settings.target(case, ".nii.gz"), labels.voxels, like=case.imaging)
    if settings.overlay:
        with _drawing:
            draw_overlay(settings.target(case, ".png"), scan, labels, case.name)
    findings = measure(labels, scan)
    report = {"case": case.name, "input": str(case.imaging), "model": str(predictor.path),
              "preset": predictor.config.preset, "shape_zyx": list(scan.voxels.shape),
              "spacing_mm_zyx": list(scan.spacing_mm), **found, "tumors": len(findings["tumors"]),
              "largest_tumor_mm": max((tumor["diameter_axial_mm"] for tumor in findings["tumors"]), default=None),
              "findings": findings}
    if settings.page:
        truth = _truth(case, scan, report["warnings"])
        if truth:
            report |= dice_scores(truth.voxels, labels.voxels)
        write_case_page(settings.target(case, ".html"), scan, labels, report, truth)
    paths = [settings.target(case, ending) for ending in settings.endings()]
    report |= {"made_from": made_from, "files": {path.name: file_facts(path) for path in paths}}
    write_text(settings.target(case, ".json"), json.dumps(report, indent=2) + "\n")
    return report


def _truth(case, scan, warnings):
    """The case's ground truth, if there is one; one that does not fit is a warning, not a failure."""
    if case.segmentation is None:
        return None
    try:
        truth = read_labels(case.segmentation)
        check_same_place(case.segmentation, truth, scan, "scan")
    except InputError as error:
        warnings.append(f"The ground truth was left out: {error}.")
        return None
    return truth


def load(settings: Settings) -> typing.Any:
    """The predictor of the settings, loaded once per process. Raises RunError: no other case could be predicted."""
    try:
        return cluster.once(open_predictor, settings.source, settings.xla, version=settings.model)
    except InputError as error:
        raise RunError(str(error)) from error


def open_predictor(source: pathlib.Path | serving.Server, xla: str) -> typing.Any:
    """What predicts by an export or on a server: it has `explain(volume)`, `path` and `config`. Brings TensorFlow."""
    if isinstance(source, serving.Server):
        return serving.RemotePredictor(*dataclasses.astuple(source), xla)
    return serving.Predictor(source, xla)
