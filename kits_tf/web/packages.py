"""Checks that the packages of the extra `web` are installed."""

import importlib.metadata

from kits_tf.errors import InputError

NEEDED = ["fastapi", "uvicorn", "python-multipart"]


def check_installed() -> None:
    """Checks that all packages that the web page needs are there.

    Raises:
        InputError: if some are not; the message names them and the extra that has them.
    """
    missing = [package for package in NEEDED if not _is_installed(package)]
    if missing:
        raise InputError(f"{' and '.join(missing)} not installed, which the web page needs; pip install "
                         f"\"kits_tf[web]\", or in a checkout: pip install \".[web]\"")


def _is_installed(package):
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
