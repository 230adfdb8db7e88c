"""Size and SHA-256 of files and folders, to detect changes."""

import hashlib
import pathlib
from collections.abc import Iterable

from kits_tf.errors import InputError


def file_facts(path: str | pathlib.Path) -> dict | None:
    """Returns size and SHA-256 of a file as {"bytes": int, "sha256": hex}, or None if there is no such file.

    Raises:
        InputError: if the file cannot be read.
    """
    path = pathlib.Path(path)
    try:
        if not path.is_file():
            return None
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return {"bytes": stream.tell(), "sha256": digest}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def folder_digest(folder: str | pathlib.Path, names: Iterable[str]) -> str:
    """Returns one SHA-256 over the named files and folders in a folder: their relative paths and contents."""
    folder = pathlib.Path(folder)
    digest = hashlib.sha256()
    for name in sorted(names):
        found = [folder / name, *sorted((folder / name).rglob("*"))]
        for path in (path for path in found if path.is_file()):
            facts = file_facts(path) or {"sha256": "gone"}
            digest.update(f"{path.relative_to(folder).as_posix()} {facts['sha256']}\n".encode())
    return digest.hexdigest()
