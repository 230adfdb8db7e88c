"""Tests the lock of a folder: a second run is refused with the holder's name, a dead run does not block."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from kits_tf.errors import InputError
from kits_tf.files.atomic import TEMPORARY, whole_file
from kits_tf.files.lock import only_writer

HOLD = """
import sys, time
from kits_tf.files.lock import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder's lock until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_is_refused_by_the_name_of_the_first(holder, tmp_path):
    with pytest.raises(InputError) as caught, only_writer(tmp_path / "out"):
        raise AssertionError("two hold it")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'out'}: is in use by process {holder.pid} on "
                              f"{socket.gethostname()} since 20")
    assert "-c" in message and "choose another --output" in message
    assert len(message.splitlines()) == 1
    with only_writer(tmp_path / "elsewhere"):
        pass


def test_a_killed_process_keeps_no_folder_and_its_temporaries_go(holder, tmp_path):
    half = tmp_path / "out" / ".writing-abc.nii.gz"
    half.write_bytes(b"half")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "out" / ".kits_tf.lock").exists()
    with only_writer(tmp_path / "out"):
        assert not half.exists()
        assert f"process {os.getpid()} on" in (tmp_path / "out" / ".kits_tf.lock").read_text()
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_being_written_is_named_as_the_sweep_expects(tmp_path):
    with whole_file(tmp_path / "a.json") as temporary:
        with only_writer(tmp_path):
            assert not temporary.exists()
        temporary.touch()


def test_what_killed_workers_left_goes_at_the_end_unless_others_may_still_write(tmp_path):
    half = tmp_path / f"{TEMPORARY}x.json"
    with only_writer(tmp_path):
        half.touch()
    assert not half.exists()
    with pytest.raises(KeyError), only_writer(tmp_path), half.open("w"):
        raise KeyError
    assert half.exists()


def test_an_exception_releases_the_lock(tmp_path):
    with pytest.raises(KeyError), only_writer(tmp_path):
        raise KeyError
    with only_writer(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_just_removed_does_not_count(tmp_path, monkeypatch):
    """The run that held the lock ends and removes the file between our opening and our locking it."""
    real, calls = os.fstat, []

    def fstat(handle):
        if not calls:
            (tmp_path / ".kits_tf.lock").unlink()
        calls.append(handle)
        return real(handle)

    monkeypatch.setattr(os, "fstat", fstat)
    with only_writer(tmp_path):
        monkeypatch.undo()
        assert len(calls) == 2
        with pytest.raises(InputError, match="in use"), only_writer(tmp_path):
            raise AssertionError("two hold it")


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with only_writer(tmp_path):
        pass
    assert f"warning: {tmp_path}: its file system has no locks" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_names_the_flag(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/out: cannot be created .*--run_dir"), \
            only_writer(tmp_path / "file" / "out", "--run_dir"):
        raise AssertionError("held")
