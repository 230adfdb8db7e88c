"""One run at a time writes into a folder. The second is refused by the name of the first.

A lock of the operating system (flock) on a file in the folder: it ends with the process that holds it, however that
ends, so no dead run keeps a folder. Over NFS it holds between machines where the server keeps locks (version 4 does);
where a file system keeps none, a warning says so.
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

LOCK = ".lock"


@contextlib.contextmanager
def only_writer(folder: str | pathlib.Path, flag: str = "--output") -> Iterator[None]:
    """Holds a folder for this process, made if it is not there, and sweeps what killed runs left half-written in it,
    at the end too what its own killed workers left.

    Args:
        folder: the folder that is written to.
        flag: the flag it was given by, for the message.

    Raises:
        InputError: if it cannot be made, or another run holds it; the message says which: host, process, since when
            and its command.
    """
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = _open_locked(folder / LOCK)
    except BlockingIOError as error:
        raise InputError(f"{folder}: is being written to by {_holder(folder / LOCK)}; let it end, or choose another "
                         f"{flag}") from error
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}), {flag} expects a folder to write to") from error
    with stream:
        sweep(folder)
        try:
            yield
            sweep(folder)  # after an exception workers may still be at it
        finally:
            (folder / LOCK).unlink(missing_ok=True)  # while it is held: whoever waits for this file sees that it went


def _open_locked(path):
    while True:
        stream = open(path, "a+", encoding="utf-8")  # noqa: SIM115  it lives as long as the lock
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            raise
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                stream.close()
                raise
            print(f"warning: {path.parent}: its file system keeps no locks; let no other run write there",
                  file=sys.stderr)
        if _is_still(path, stream):
            break
        stream.close()  # the run that held it has just ended and taken the file away
    began = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    stream.truncate(0)
    stream.write(f"process {os.getpid()} on {socket.gethostname()} since {began}: {shlex.join(sys.argv)}\n")
    stream.flush()
    return stream


def _is_still(path, stream):
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(path):
    try:
        return " ".join(path.read_text(encoding="utf-8").split()) or "another run"
    except OSError:
        return "another run"
