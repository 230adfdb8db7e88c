"""Writing a small file whole or not at all."""

import os
import pathlib


def write_whole(path, data):
    """Writes bytes under a temporary name beside the file, then renames: a reader never meets half a file.

    Args:
        path: file to write; its folder is made if need be.
        data: bytes.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
