"""Atomic writes: a file is written under a temporary name beside its target, then renamed, so it is whole or absent.

A process that is killed while it writes leaves its temporary file behind; the next run into that folder sweeps it.
"""

import contextlib
import csv
import errno
import io
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence

from kits_tf.errors import RunError

TEMPORARY = ".writing-"  # how a file's name begins until the file is whole
# What stops the next file too: no room, a used up quota, a limit on sizes, a folder that may not be written to.
NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def whole_file(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a temporary path to write to; on leaving, it becomes `path`, or goes if an exception was raised.

    The temporary name starts with a dot and keeps the ending, which some writers read the format from. Folders above
    are made. What was written is on the disk before it gets its name, so that a machine that dies leaves no empty file.

    Raises:
        RunError: if the disk is full, a quota is used up, or nothing may be written there.
    """
    path = pathlib.Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, suffix="".join(path.suffixes[-2:]), dir=path.parent)
        os.close(handle)
        temporary = pathlib.Path(name)
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp's own is for its owner alone
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in NO_PLACE:
            raise cannot_write(path, str(error.strerror)) from error
        raise


def cannot_write(path: str | pathlib.Path, reason: str) -> RunError:
    """The error that ends a run: neither this file nor the next can be written."""
    return RunError(f"{path}: cannot be written ({reason}); see to it and give the same command again")


def sweep(folder: str | pathlib.Path) -> None:
    """Removes the temporary files that killed runs left in a folder (not in those below it).

    Only for the one that holds the folder (lock.py): a file that is being written goes too.
    """
    for path in pathlib.Path(folder).glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def write_text(path: str | pathlib.Path, text: str) -> None:
    """Writes a small text file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | pathlib.Path, data: bytes) -> None:
    """Writes bytes, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def write_table(path: str | pathlib.Path, columns: Sequence[str], rows: Iterable[dict]) -> None:
    """Writes dicts as CSV, whole or not at all; what a row lacks stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
