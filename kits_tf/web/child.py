"""The server's end of the worker process: starts it, sends it a scan, reads how far it is, and kills it.

Each message is a line of JSON, as worker.py describes them.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import kits_tf
from kits_tf.web.scans import Scan


class Child:
    """A worker process, started when it is needed. One thread calls `start` and `segment`; any may call `kill`.

    Args:
        model: the version folder of the export.
        verbose: whether the worker prints what TensorFlow says.
    """

    def __init__(self, model: pathlib.Path, verbose: bool = False) -> None:
        self._command = [sys.executable, "-m", "kits_tf.web.worker", str(model), *["--verbose"] * verbose]
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()

    @property
    def is_ready(self) -> bool:
        """Whether the worker has loaded the model."""
        return self._process is not None

    def start(self) -> str:
        """Starts the worker and waits until it has loaded the model; returns why it could not, or ""."""
        with self._lock:
            if self._process is not None:
                return ""
            root = str(pathlib.Path(kits_tf.__file__).parents[1])
            path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                             env={**os.environ, "PYTHONPATH": path}, start_new_session=True)
        message = self._read()
        return "" if "ready" in message else message["failed"]

    def segment(self, scan: Scan, tell: Callable[[str], None], is_canceled: Callable[[], bool]) -> str:
        """Has the worker segment a scan; returns why it failed, or "".

        Args:
            scan: the scan.
            tell: called with each step as it begins.
            is_canceled: asked before the scan is sent. `kill` may be called at any time after that.
        """
        if not self.is_ready:
            tell("loading the model")
        trouble = self.start()
        if trouble:
            return trouble
        with self._lock:
            if is_canceled():
                return ""
            process = self._process
            job = {"folder": str(scan.folder), "kind": scan.kind, "imaging": scan.imaging, "files": scan.files,
                   "notes": scan.notes}
            try:
                if process is not None and process.stdin is not None:
                    process.stdin.write(json.dumps(job) + "\n")
                    process.stdin.flush()
            except OSError:
                pass  # it has died; _read says how
        while "stage" in (message := self._read()):
            tell(message["stage"])
        return message.get("failed", "")

    def kill(self) -> None:
        """Ends the worker; a scan that it computes is lost."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def _read(self):
        """Returns the worker's next message; if it has ended, a failure that says how."""
        process = self._process
        line = process.stdout.readline()
        if line.endswith("\n"):
            return json.loads(line)
        with self._lock:
            process.kill()
            status = process.wait()
            process.stdin.close()
            process.stdout.close()
            self._process = None
        if status == -signal.SIGKILL:
            return {"failed": "The program was ended by the system, most likely because the memory was full; use a "
                              "machine with more, or crop the scan to the abdomen."}
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        return {"failed": f"The program crashed at this scan ({name}); the server continues with the others."}
