"""Files that are whole or absent: written under a temporary name beside the target, then renamed. And what they are
known by: size and checksum."""

import contextlib
import hashlib
import os
import pathlib
import tempfile


@contextlib.contextmanager
def whole_file(path):
    """Gives a temporary path to write to; on leaving, it becomes `path`, or goes if an exception was raised.

    The temporary name starts with a dot and keeps the ending, which some writers read the format from. Folders above
    are made.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix="".join(path.suffixes[-2:]), dir=path.parent)
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp's own is for its owner alone
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path, text):
    """Writes a small text file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path, data):
    """Writes bytes, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def file_facts(path):
    """Size and SHA-256 of a file, or None if it is not there."""
    path = pathlib.Path(path)
    if not path.is_file():
        return None
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"bytes": stream.tell(), "sha256": digest}


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
