"""Locks a folder so that only one run at a time writes into it. A second run gets an error that names the first.

The lock is an operating system lock (flock) on a file in the folder. The system releases it when the process ends for
any reason, so a dead run never blocks a folder. Over NFS it works between machines if the server supports locks
(version 4 does). If the file system has no locks, a warning is printed.
"""

import contextlib
import datetime
import errno
import fcntl
import os
import pathlib
import shlex
import socket
import sys
from collections.abc import Iterator

from kits_tf.errors import InputError
from kits_tf.files.atomic import sweep
from kits_tf.quiet import warn

LOCK = ".kits_tf.lock"  # a name that no other program uses: the file is emptied and deleted


@contextlib.contextmanager
def only_writer(folder: str | pathlib.Path, flag: str = "--output") -> Iterator[None]:
    """Locks a folder for this process and removes the temporary files of killed runs in it.

    The folder is created if it does not exist. If the block ends without an exception, the temporary files that killed
    workers of this run left are removed too.

    Args:
        folder: the folder to write to.
        flag: the flag that names the folder, for the message.

    Raises:
        InputError: if the folder cannot be created, or if another run holds it; the message has that run's process,
            host, start time and command.
    """
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = _open_locked(folder / LOCK)
    except BlockingIOError as error:
        raise InputError(f"{folder}: is in use by {_holder(folder / LOCK)}; wait for its end, or choose another "
                         f"{flag}") from error
    except OSError as error:
        raise InputError(f"{folder}: cannot be created ({error.strerror}); {flag} expects a folder to write to"
                         ) from error
    with stream:
        sweep(folder)
        try:
            yield
            sweep(folder)  # not after an exception: workers may still be writing
        finally:
            (folder / LOCK).unlink(missing_ok=True)  # before the lock is released, see _is_still


def _open_locked(path):
    while True:
        stream = open(path, "a+", encoding="utf-8")  # noqa: SIM115  open as long as the lock is held
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            raise
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                stream.close()
                raise
            warn(f"{path.parent}: its file system has no locks; make sure that no other run writes there")
        if _is_still(path, stream):
            break
        stream.close()  # the run that held the lock has just ended and deleted the file
    began = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    stream.truncate(0)
    stream.write(f"process {os.getpid()} on {socket.gethostname()} since {began}: {shlex.join(sys.argv)}\n")
    stream.flush()
    return stream


def _is_still(path, stream):
    """Returns whether the open file is still the one at the path: a run deletes its lock file when it ends."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(path):
    try:
        return " ".join(path.read_text(encoding="utf-8").split()) or "another run"
    except OSError:
        return "another run"
