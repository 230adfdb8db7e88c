"""Lists the files that this program wrote, so that no command writes over any other file.

Every folder of outputs has such a list, FOLDER/.kits_tf.sha256, in the format of sha256sum. A file that is not listed,
or was changed since, belongs to the user: it is kept, unless the user gives --overwrite. A file is listed before it
appears, so a run that is killed in between still knows it as its own.
"""

import contextlib
import fcntl
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterable, Iterator

from absl import flags

from kits_tf.errors import InputError
from kits_tf.files.atomic import TEMPORARY, cannot_write
from kits_tf.files.checksums import file_facts

LIST = ".kits_tf.sha256"


def define_flag() -> None:
    """Defines the flag --overwrite."""
    flags.DEFINE_boolean("overwrite", False, "also overwrite files that this program did not write, or that were "
                         "changed since")


def is_own(path: str | pathlib.Path) -> bool:
    """Returns whether a path is free, or holds a file that this program wrote there and nobody has changed since."""
    path = pathlib.Path(path)
    if not os.path.lexists(path):
        return True
    facts = file_facts(path)  # None for folders, broken links and other things that are no file
    return facts is not None and b"\n" + _line(facts["sha256"], path.name) in _listed(path.parent)


def check_own(paths: Iterable[str | pathlib.Path], overwrite: bool = False) -> None:
    """Checks that files may be written: each path is_own, or `overwrite` is true and it is no folder.

    Raises:
        InputError: if one may not be; the message names it.
    """
    for path in paths:
        if os.path.isdir(path):
            raise InputError(f"{path}: is a folder, expected a file or nothing there; move it away")
        if not overwrite and not is_own(path):
            raise InputError(f"{path}: was not written by this program or was changed since, and is kept; move it "
                             f"away, choose another --output, or give --overwrite")


@contextlib.contextmanager
def staged(folder: str | pathlib.Path, overwrite: bool = False) -> Iterator[pathlib.Path]:
    """Yields a temporary folder, and moves the files that the block writes there to `folder`, the oldest first.

    All files are whole before the first one is moved. After an exception none is moved. `folder` is created if missing.

    Raises:
        InputError: as check_own, for the files' places in `folder`.
        RunError: if the folder cannot be written to.
    """
    folder = pathlib.Path(folder)
    temporary = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        files = sorted(temporary.iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name))
        targets = [folder / path.name for path in files]
        check_own(targets, overwrite)
        _list(folder, files)
        for path, target in zip(files, targets, strict=True):
            os.replace(path, target)
    except OSError as error:
        raise cannot_write(folder, str(error.strerror)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _line(digest, name):
    return f"{digest}  ".encode() + os.fsencode(name) + b"\n"


def _listed(folder):
    """Returns the list with a line break before every line."""
    try:
        return b"\n" + (folder / LIST).read_bytes()
    except FileNotFoundError:
        return b"\n"


def _list(folder, files):
    """Adds files to a folder's list, which several processes and machines may do at a time."""
    with open(folder / LIST, "ab") as stream:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(stream, fcntl.LOCK_EX)
        known, end = _listed(folder), stream.seek(0, os.SEEK_END)
        lines = [_line((file_facts(path) or {})["sha256"], path.name) for path in files]
        try:
            stream.write(b"".join(line for line in lines if b"\n" + line not in known))
            stream.flush()
            os.fsync(stream.fileno())
        except OSError:
            os.truncate(folder / LIST, end)
            raise
