"""Tests that importing kits_tf before TensorFlow enables oneDNN, unless the environment disables it."""

import os
import pathlib
import platform
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
WHETHER = """
import kits_tf
from tensorflow.python.util import _pywrap_util_port
print(_pywrap_util_port.IsMklEnabled())
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="elsewhere TensorFlow's own choice stands")
@pytest.mark.parametrize(("asked", "on"), [(None, "True"), ("1", "True"), ("0", "False")])
def test_onednn_is_on_unless_told_otherwise(asked, on):
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    if asked is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = asked
    done = subprocess.run([sys.executable, "-c", WHETHER], capture_output=True, text=True, check=True, cwd=ROOT,
                          env=environment)
    assert done.stdout.split() == [on]
