"""Installs peers into their own virtual environments, so that their requirements cannot conflict with ours."""

import pathlib
import subprocess
import sys

NNUNET = ("torch>=2.1", "nnunetv2>=2.6,<3")


def install(folder: pathlib.Path) -> pathlib.Path:
    """Creates a virtual environment with nnU-Net in a folder, unless it exists, and returns its bin folder."""
    tools = folder / ".venv" / "bin"
    if not (tools / "nnUNetv2_train").exists():
        subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
        subprocess.run([tools / "python", "-m", "pip", "install", "--quiet", *NNUNET], check=True)
    return tools
