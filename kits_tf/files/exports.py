"""Export folders: finds the versions of an exported cascade and the newest one, and hashes a version.

    runs/<name>/export/<version>/saved_model.pb  variables/  assets/config.json
"""

import pathlib

from kits_tf.errors import InputError
from kits_tf.files.checksums import folder_digest


def versions(directory: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the complete version folders of an export folder, oldest first; empty if there is no such folder."""
    found = [path for path in pathlib.Path(directory).glob("*")
             if path.name.isdecimal() and (path / "saved_model.pb").exists()]
    return sorted(found, key=lambda path: int(path.name))


def find_export(directory: str | pathlib.Path) -> pathlib.Path:
    """Returns the version to load: the folder itself if it is a version, else its newest version.

    Raises:
        InputError: if there is neither.
    """
    directory = pathlib.Path(directory)
    if (directory / "saved_model.pb").exists():
        return directory
    found = versions(directory)
    if not found:
        raise InputError(f"{directory}: no exported cascade here (saved_model.pb, or <version>/saved_model.pb); "
                         f"make one with: python -m kits_tf.cascade --run_dir=runs/NAME --output={directory}")
    return found[-1]


def export_digest(version: str | pathlib.Path) -> str:
    """Returns the SHA-256 of what determines a version's predictions: graph, weights and settings."""
    return folder_digest(version, ("saved_model.pb", "variables", "assets"))
