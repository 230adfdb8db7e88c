"""The process that holds the model and segments one scan after another: python -m kits_tf.web.worker MODEL.

Reads a line of JSON per scan from stdin: {"folder", "kind", "imaging", "files", "notes"} (web/scans.py). Answers with
lines on stdout: {"ready": true} when the model is loaded, {"stage": text} per step, and {"done": true} or
{"failed": sentence} at the end of a scan. A model that cannot be loaded is a {"failed": sentence} before the end. The
process ends when stdin does, also in the middle of a scan: then its server is gone.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import queue
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable

from isal import igzip

from kits_tf import quiet
from kits_tf.errors import InputError, one_line
from kits_tf.files import exports
from kits_tf.files.atomic import whole_file, write_text
from kits_tf.reporting import predictions
from kits_tf.reporting.embedding import embed
from kits_tf.scans import dicom
from kits_tf.scans.discovery import Case
from kits_tf.scans.nifti import read_labels, read_volume, write_volume
from kits_tf.web.scans import FILES, RESULT, SCAN, UPLOAD, VIEW

OUT_OF_MEMORY_SCORE = pathlib.Path("/proc/self/oom_score_adj")
MOST_SCORE = "1000"  # when the memory is full, Linux ends this process first
OUT_OF_MEMORY = ("MemoryError", "_ArrayMemoryError", "ResourceExhaustedError")  # Python's, NumPy's, TensorFlow's
STAGES = {"reading": "reading the scan", "segmenting": "finding kidneys and tumors",
          "measuring": "measuring and writing the labels"}


def main() -> None:
    """Runs the worker until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends this process
    with contextlib.suppress(OSError):
        OUT_OF_MEMORY_SCORE.write_text(MOST_SCORE)
    if "--verbose" in sys.argv:
        quiet.set_level(1)
    quiet.quiet_tensorflow()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer

    def answer(**message: object) -> None:
        answers.write(json.dumps(message) + "\n")

    jobs: queue.Queue[dict] = queue.Queue()
    threading.Thread(target=_receive, args=(jobs,), daemon=True).start()
    version = pathlib.Path(sys.argv[1])
    try:
        settings = predictions.Settings(version, exports.export_digest(version), pathlib.Path(), overlay=False)
        predictions.load(settings)
    except InputError as error:
        answer(failed=str(error))
        return
    answer(ready=True)
    while True:
        failure = _attempt(jobs.get(), settings, lambda stage: answer(stage=stage))
        answer(**({"failed": failure} if failure else {"done": True}))


def _receive(jobs):
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(0)


def _attempt(job, settings, tell):
    """Segments a scan; returns why it failed, or ""."""
    try:
        segment(job, settings, tell)
    except InputError as error:
        return str(error)
    except Exception as error:
        if type(error).__name__ in OUT_OF_MEMORY:
            return "The memory is too small for this scan; use a machine with more, or crop the scan to the abdomen."
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"The program failed at this scan ({one_line(error)}, in {where.filename}, line {where.lineno})."
    return ""


def segment(job: dict, settings: predictions.Settings, tell: Callable[[str], None]) -> None:
    """Segments one scan as predict.py does, and writes its files.

    Args:
        job: as of the module.
        settings: with the model; its output folder and formats are those of the job.
        tell: called with a text for each step as it begins.

    Raises:
        InputError: if the scan cannot be used, or its files cannot be written.
    """
    folder, is_series = pathlib.Path(job["folder"]), job["kind"] == "DICOM"
    shutil.rmtree(folder / RESULT, ignore_errors=True)  # of a start that was cut off
    upload = folder / UPLOAD
    case = Case("scan", upload / job["imaging"], files=tuple(upload / name for name in job["files"]))
    settings = dataclasses.replace(settings, output=folder / RESULT,
                                   formats=("nifti", "dicomseg") if is_series else ("nifti",))
    predictions.predict_case(case, settings, lambda step: tell(STAGES[step]))
    tell("preparing the view")
    scan = dicom.read_series(case.imaging, case.files)[0] if is_series else read_volume(case.imaging)
    if is_series:
        write_volume(folder / SCAN, scan)
    else:
        _copy_nifti(case.imaging, folder / SCAN)
    _write_view(folder, scan, predictions.load(settings).config.window_hu)
    _finish_report(folder / FILES["report.json"], job["notes"])


def _copy_nifti(path, target):
    """Copies a NIfTI file as it was uploaded, packed if it was not."""
    target.unlink(missing_ok=True)
    if path.name.endswith(".gz"):
        try:
            os.link(path, target)
        except OSError:  # a file system without links
            shutil.copyfile(path, target)
    else:
        with whole_file(target) as temporary, open(path, "rb") as stored, igzip.open(temporary, "wb") as packed:
            shutil.copyfileobj(stored, packed, 2**20)


def _write_view(folder, scan, window_hu):
    """Writes what the page shows: the arguments of kitsViewer.open (reporting/static/viewer.js), and a note."""
    volumes, note = embed(scan, read_labels(folder / FILES["labels.nii.gz"]))
    view = {"volumes": volumes, "grid": {"shape": scan.voxels.shape, "affine": scan.affine.tolist()},
            "windows": {"nets": list(window_hu)}, "note": note}
    write_text(folder / VIEW, json.dumps(view))


def _finish_report(path, notes):
    """Adds notes to a report's warnings, and removes the path of the scan, which is ours and not the user's."""
    report = json.loads(path.read_text(encoding="utf-8"))
    report["input"], report["warnings"] = None, [*notes, *report["warnings"]]
    write_text(path, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
