"""The scans that the server holds: one folder each, until they are deleted or too old.

    DATA_DIR/<id>/scan.json        what is known of the scan, without names of the user's files
    DATA_DIR/<id>/upload/          the uploaded files, until the scan is done or failed
    DATA_DIR/<id>/result/          labels and report, as predict.py writes them
    DATA_DIR/<id>/scan.nii.gz      the scan as NIfTI, when it is done
    DATA_DIR/<id>/view.json        the same with its labels, reduced to what the page shows

A folder appears when its upload is whole, and is renamed before it is removed, so that a server that is killed leaves
no half of one: files.atomic.sweep removes the others at the next start.
"""

import contextlib
import dataclasses
import datetime
import json
import pathlib
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator

from kits_tf.errors import RunError
from kits_tf.files.atomic import TEMPORARY, write_text
from kits_tf.web.errors import EARLY, UNKNOWN, RefusalError
from kits_tf.web.recognize import Found
from kits_tf.web.upload import Upload

RECORD, UPLOAD, RESULT, SCAN, VIEW = "scan.json", "upload", "result", "scan.nii.gz", "view.json"
QUEUED, RUNNING, DONE, FAILED, CANCELED = "queued", "running", "done", "failed", "canceled"
MOST_STARTS = 2  # of one scan, if the server is killed while it runs
# What a scan's files are called in the interface, and where they are.
FILES = {"labels.nii.gz": f"{RESULT}/prediction_scan.nii.gz", "labels.dcm": f"{RESULT}/prediction_scan.dcm",
         "report.json": f"{RESULT}/prediction_scan.json", SCAN: SCAN, VIEW: VIEW}
OUR_NAME = re.compile(r"(?:folder-\d{5}/)?(file-\d{5}(?:\.nii(?:\.gz)?)?)")


@dataclasses.dataclass
class Scan:
    """One scan.

    Attributes:
        folder: its folder; its name is the scan's id.
        kind, imaging, files, notes: as in recognize.Found.
        created: when its upload was whole, in seconds since 1970.
        status: QUEUED, RUNNING, DONE, FAILED or CANCELED.
        stage: the step that runs, for a reader.
        message: a sentence, for a reader; the reason if it failed.
        starts: how often it was started.
        seconds: that its computation took.
        title: what the user calls it; not stored on disk.
        names: the user's name of each file of ours; not stored on disk.
        report: the JSON report, or None.
    """

    folder: pathlib.Path
    kind: str
    imaging: str
    files: tuple[str, ...]
    notes: tuple[str, ...]
    created: float
    status: str = QUEUED
    stage: str = ""
    message: str = ""
    starts: int = 0
    seconds: float | None = None
    title: str = ""
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    report: dict | None = None

    @property
    def id(self) -> str:
        """The folder's name, which the page uses in its addresses."""
        return self.folder.name

    def write(self) -> None:
        """Writes the record, atomically."""
        kept = ("kind", "imaging", "files", "notes", "created", "status", "message", "starts", "seconds")
        write_text(self.folder / RECORD, json.dumps({name: getattr(self, name) for name in kept}, indent=2) + "\n")

    def in_users_words(self, text: str) -> str:
        """Returns a message with the user's names of files, if they are known, instead of ours and our folders."""
        inside = self.folder / UPLOAD
        text = text.replace(f"{inside}/", "").replace(str(inside), "the upload")
        return OUR_NAME.sub(lambda found: self.names.get(found[1]) or found[1], text)


class Scans:
    """All scans of a folder. Its methods may be called by any thread.

    Args:
        folder: the folder, locked by this process (files/lock.py).
        keep_hours: how long a scan is held, from the end of its upload.
        cancel: called to stop the computation of a scan that runs; it returns at once.
    """

    def __init__(self, folder: pathlib.Path, keep_hours: float, cancel: Callable[[], None]) -> None:
        self.folder, self.keep_hours, self._cancel = folder, keep_hours, cancel
        self._changed = threading.Condition()
        self._running: Scan | None = None
        found = [_load(path.parent) for path in folder.glob(f"{'[0-9a-f]' * 32}/{RECORD}")]
        self._scans = {scan.id: scan for scan in sorted(filter(None, found), key=lambda scan: scan.created)}

    @contextlib.contextmanager
    def receiving(self) -> Iterator[pathlib.Path]:
        """Yields a folder for an upload, and removes what is left there at the end."""
        folder = self.folder / f"{TEMPORARY}{secrets.token_hex(8)}"
        try:
            (folder / UPLOAD).mkdir(parents=True)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, received: pathlib.Path, upload: Upload, found: Found) -> Scan:
        """Puts an upload into the queue.

        Args:
            received: the folder that `receiving` yielded, with the files in its subfolder UPLOAD.
            upload: the files' names.
            found: the scan among them.
        """
        with self._changed:
            scan = Scan(received, found.kind, found.imaging, found.files, found.notes, time.time(), title=found.title,
                        names={pathlib.PurePath(name).name: given for name, given in upload.names.items()})
            scan.write()
            scan.folder = received.rename(self.folder / secrets.token_hex(16))
            self._scans[scan.id] = scan
            self._changed.notify_all()
            return scan

    def get(self, scan_id: str) -> Scan:
        """Returns a scan. Raises RefusalError if there is none."""
        with self._changed:
            if scan_id not in self._scans:
                raise RefusalError(UNKNOWN, "There is no such scan; it may have been deleted.")
            return self._scans[scan_id]

    def file(self, scan_id: str, name: str) -> pathlib.Path:
        """Returns the path of one of FILES of a scan.

        Raises:
            RefusalError: if there is no such scan, it is not done, or it has no such file.
        """
        scan = self.get(scan_id)
        if scan.status == FAILED:
            raise RefusalError(EARLY, f"The scan failed and has no {name}.")
        if scan.status != DONE:
            raise RefusalError(EARLY, f"The scan is {scan.status}; {name} is there when it is done.")
        path = scan.folder / FILES[name]
        if not path.exists():
            why = (scan.report or {}).get("missing", {}).get(path.name)
            raise RefusalError(UNKNOWN, f"The scan has no {name}" + (f" ({why})." if why else
                          "; only DICOM series have one." if scan.kind != "DICOM" else
                          "; no kidney was found." if name == "labels.dcm" else "."))
        return path

    def shown(self) -> list[dict]:
        """Returns `show` of all scans, the oldest first."""
        with self._changed:
            return [self.show(scan) for scan in self._scans.values()]

    def show(self, scan: Scan) -> dict:
        """Returns what the interface says of a scan, as JSON values."""
        with self._changed:
            before = [other for other in self._scans.values() if other.status in (QUEUED, RUNNING)]
            stage, message = scan.stage, scan.in_users_words(scan.message)
            if scan.status == QUEUED:
                place = next((number for number, other in enumerate(before) if other is scan), 0)
                stage = "waiting"
                message = f"{place} before it." if place else "Next."
            return {"id": scan.id, "status": scan.status, "stage": stage, "message": message, "report": scan.report,
                    "title": scan.title, "kind": scan.kind, "created": _text(scan.created),
                    "deleted": _text(self._end(scan)), "seconds": scan.seconds,
                    "files": [name for name, path in FILES.items()
                              if scan.status == DONE and (scan.folder / path).exists()]}

    def remove(self, scan_id: str) -> None:
        """Cancels a scan and removes everything of it. Raises RefusalError if there is none."""
        with self._changed:
            scan = self.get(scan_id)
            scan.status = CANCELED
            if scan is self._running:
                self._cancel()
            self._changed.wait_for(lambda: self._running is not scan)
            if self._scans.pop(scan_id, None) is None:
                return  # another request removed it meanwhile
        with contextlib.suppress(FileNotFoundError):
            gone = scan.folder.rename(self.folder / f"{TEMPORARY}{secrets.token_hex(8)}")
            shutil.rmtree(gone, ignore_errors=True)

    def remove_old(self) -> None:
        """Removes all scans that are older than `keep_hours`, whatever their status."""
        with self._changed:
            old = [scan.id for scan in self._scans.values() if time.time() > self._end(scan)]
        for scan_id in old:
            with contextlib.suppress(RefusalError):
                self.remove(scan_id)

    @contextlib.contextmanager
    def next_one(self) -> Iterator[Scan]:
        """Waits for a scan in the queue, and yields it as the one that runs.

        The block sets its status at the end; a scan that was canceled meanwhile keeps that status.
        """
        with self._changed:
            self._changed.wait_for(lambda: any(scan.status == QUEUED for scan in self._scans.values()))
            scan = next(scan for scan in self._scans.values() if scan.status == QUEUED)
            self._running, scan.status, scan.starts = scan, RUNNING, scan.starts + 1
            _keep(scan)
        try:
            yield scan
        finally:
            with self._changed:
                self._running = None
                self._changed.notify_all()

    def tell(self, scan: Scan, stage: str) -> None:
        """Says which step of a scan runs."""
        with self._changed:
            scan.stage = stage

    def finish(self, scan: Scan, failure: str, seconds: float) -> None:
        """Ends a scan: done, or failed if there is a failure; nothing if it was canceled.

        The uploaded files are removed: nothing needs them any more.
        """
        with self._changed:
            if scan.status == CANCELED:
                return
            report = None if failure else _report(scan.folder)
            scan.seconds, scan.stage, scan.report = seconds, "", report
            scan.status = DONE if report is not None else FAILED
            scan.message = (" ".join(report.get("warnings", [])) if report is not None else
                            failure or "Its report cannot be read.")
            _keep(scan)
            shutil.rmtree(scan.folder / UPLOAD, ignore_errors=True)

    def close(self) -> None:
        """Puts the scan that runs back into the queue, on disk, for the next start of the server."""
        with self._changed:
            scan = self._running
            if scan is not None and scan.status == RUNNING:
                scan.status, scan.starts = QUEUED, scan.starts - 1
                _keep(scan)
                scan.status = CANCELED  # whatever its computation ends with does not count

    def _end(self, scan):
        return scan.created + 3600 * self.keep_hours


def _keep(scan):
    """Writes a scan's record if that is possible; a full disk must not stop the queue."""
    with contextlib.suppress(RunError, OSError):
        scan.write()


def _text(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _report(folder):
    try:
        return json.loads((folder / FILES["report.json"]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _load(folder):
    """Returns the scan of a folder as an earlier server left it, or None if it is not one."""
    try:
        known = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        scan = Scan(folder, **{**known, "files": tuple(known["files"]), "notes": tuple(known["notes"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if scan.status == DONE:
        scan.report = _report(folder)
    elif scan.status == RUNNING and scan.starts >= MOST_STARTS:
        scan.status, scan.message = FAILED, (f"The server was killed {scan.starts} times while it computed this scan; "
                                             f"upload it again to have another try.")
        _keep(scan)
    elif scan.status != FAILED:
        scan.status = QUEUED
    return scan
