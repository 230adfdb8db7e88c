"""Export folders: the versions of an exported cascade, the newest one, and their fingerprints.

    runs/<name>/export/<version>/saved_model.pb  variables/  assets/config.json
"""

import pathlib

from kits_tf.errors import InputError
from kits_tf.files.checksums import folder_digest


def versions(directory: str | pathlib.Path) -> list[pathlib.Path]:
    """The complete version folders of an export folder, rising; none if there is no such folder."""
    found = [path for path in pathlib.Path(directory).glob("*")
             if path.name.isdigit() and (path / "saved_model.pb").exists()]
    return sorted(found, key=lambda path: int(path.name))


def find_export(directory: str | pathlib.Path) -> pathlib.Path:
    """The version to load: the folder itself, or the newest version in an export folder.

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
    """SHA-256 of what an exported version answers by: its graph, weights and settings."""
    return folder_digest(version, ("saved_model.pb", "variables", "assets"))
