"""Tests that importing kits_tf before TensorFlow enables oneDNN, unless the environment disables it."""

import os
import pathlib
import platform
import subprocess
import sys

import pytest
from tensorflow.python.util import _pywrap_util_port

ROOT = pathlib.Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"),
                                reason="elsewhere TensorFlow's own choice stands")


@pytest.mark.parametrize(("asked", "told"), [(None, "1"), ("1", "1"), ("0", "0")])
def test_onednn_is_enabled_unless_the_environment_disables_it(asked, told):
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    if asked is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = asked
    program = "import os, kits_tf; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT,
                          env=environment)
    assert done.stdout.split() == [told]


def test_tensorflow_uses_onednn_as_the_environment_asks():
    """Tests this process, which imported kits_tf before TensorFlow (conftest.py)."""
    assert _pywrap_util_port.IsMklEnabled() == (os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1")
