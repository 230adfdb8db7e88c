"""The queue: a thread that has the worker segment one scan after another, and one that removes old scans."""

import threading
import time
import traceback
from collections.abc import Callable

from kits_tf import quiet
from kits_tf.errors import one_line
from kits_tf.web.child import Child
from kits_tf.web.scans import CANCELED, Scans

SECONDS_BETWEEN = 1.0  # between two looks for old scans


def start(scans: Scans, child: Child, unusable: Callable[[str], None]) -> None:
    """Starts both threads, which end with the process.

    Args:
        scans: the scans.
        child: the worker.
        unusable: called with the reason if the model cannot be loaded at the start; the queue then ends.
    """
    threading.Thread(target=_run_queue, args=(scans, child, unusable), name="queue", daemon=True).start()
    threading.Thread(target=_remove_old, args=(scans,), name="removal", daemon=True).start()


def _run_queue(scans, child, unusable):
    trouble = child.start()
    if trouble:
        unusable(trouble)
        return
    while True:
        with scans.next_one() as scan:
            began = time.monotonic()
            failure = _segment(scans, child, scan)
            scans.finish(scan, failure, round(time.monotonic() - began, 1))
        if not child.is_ready:  # after a cancel or a crash
            child.start()


def _segment(scans, child, scan):
    try:
        return child.segment(scan, lambda stage: scans.tell(scan, stage), lambda: scan.status == CANCELED)
    except Exception as error:  # a fault of the program must not stop the queue
        if quiet.is_verbose():
            traceback.print_exc()
        child.kill()
        return f"The program failed at this scan ({one_line(error)})."


def _remove_old(scans):
    while True:
        try:
            scans.remove_old()
        except OSError as error:
            quiet.warn(f"{scans.folder}: an old scan cannot be removed ({error.strerror})")
        time.sleep(SECONDS_BETWEEN)
