"""Atomic writes: a file is written under a temporary name in the target's folder, then renamed.

A file is therefore always whole or absent. A process that is killed while it writes leaves its temporary file behind;
the next run that writes into the folder removes it.
"""

import contextlib
import csv
import errno
import io
import os
import pathlib
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence

from kits_tf.errors import RunError

TEMPORARY = ".writing-"  # prefix of a file's name until the file is whole
# Errors that would also stop the next file: no space, exhausted quota, file size limit, no write permission.
NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def whole_file(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path to write to, and renames it to `path` on exit; after an exception it is deleted.

    The temporary name starts with a dot and keeps the ending, from which some writers infer the format. Missing parent
    folders are created. The data is synced to disk before the rename, so that a machine crash leaves no empty file.

    Raises:
        RunError: if the disk is full, a quota or size limit is reached, or write permission is missing.
    """
    path = pathlib.Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}{''.join(path.suffixes[-2:])}")
        # Not by tempfile, whose files are readable by their owner alone: here the process's umask counts.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in NO_PLACE:
            raise cannot_write(path, str(error.strerror)) from error
        raise


def cannot_write(path: str | pathlib.Path, reason: str) -> RunError:
    """Returns the error that ends a run because neither this file nor the next can be written."""
    path = pathlib.Path(*(part for part in pathlib.Path(path).parts if not part.startswith(TEMPORARY)))
    return RunError(f"{path}: cannot be written ({reason}); fix this, then rerun the command")


def sweep(folder: str | pathlib.Path) -> None:
    """Removes the temporary files and folders that killed runs left in a folder, but not in its subfolders.

    Call it only while holding the folder's lock (lock.py): it also removes files that are being written.
    """
    for path in pathlib.Path(folder).glob(f"{TEMPORARY}*"):
        if not path.is_dir():
            path.unlink(missing_ok=True)
        elif re.fullmatch(f"{TEMPORARY}[0-9a-f]{{16}}", path.name):  # as own.py names them
            shutil.rmtree(path, ignore_errors=True)


def write_text(path: str | pathlib.Path, text: str) -> None:
    """Writes a small text file as UTF-8, atomically."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | pathlib.Path, data: bytes) -> None:
    """Writes bytes, atomically."""
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def write_table(path: str | pathlib.Path, columns: Sequence[str], rows: Iterable[dict]) -> None:
    """Writes dicts as CSV, atomically. Missing keys give empty cells; keys that are not in `columns` are ignored."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
