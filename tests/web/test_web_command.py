"""Tests how the server starts, and the mistakes that it says in one line."""

import socket

import pytest
from harness import commands

from kits_tf.errors import InputError
from kits_tf.web import packages


def start(*flags):
    """Runs a server that cannot start; returns its line."""
    done = commands.run("-m", "kits_tf.web", *flags, timeout=120)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    return lines[-1]


@pytest.mark.parametrize(("flags", "said"), [
    (["--model=/nowhere"], "/nowhere: no exported cascade here"),
    (["--host=0.0.0.0"], "--host=0.0.0.0: other machines can reach this address, so it needs a secret: give --token"),
    (["--host=example.org", "--token="], "--token=: is empty; give a value"),
    (["--token=schlüssel"], "--token: expected letters, digits and signs"),
    (["--keep_hours=-1"], "flag --keep_hours=-1"), (["--port=99999"], "flag --port=99999")])
def test_a_mistake_is_one_line(flags, said):
    assert said in start(*flags)


def test_a_port_in_use_is_one_line(quick_export, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert start(f"--model={quick_export}", f"--port={port}", f"--data_dir={tmp_path}").startswith(
            f"--host=127.0.0.1 --port={port}: cannot be listened on (Address already in use)")


def test_a_model_that_cannot_be_loaded_ends_the_server_in_one_line(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"damaged")
    assert "saved_model.pb: cannot be loaded as an exported cascade" in start(
        f"--model={tmp_path}", "--port=0", f"--data_dir={tmp_path / 'data'}")


def test_packages_that_are_missing_are_named_with_the_extra_that_has_them(monkeypatch):
    packages.check_installed()
    monkeypatch.setattr(packages, "NEEDED", [*packages.NEEDED, "no-such-package"])
    with pytest.raises(InputError, match=r'no-such-package not installed.*pip install "kits_tf\[web\]"'):
        packages.check_installed()
