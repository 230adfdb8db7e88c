"""Tests that every bad file is refused early, in one line that names it as given by the user."""

import contextlib
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile

import pytest
from harness.bad_scans import REFUSED, REFUSED_AS_SCAN

import kits_tf
from kits_tf.errors import InputError
from kits_tf.scans.nifti import read_labels, read_stored_geometry, read_volume

ROOT = pathlib.Path(kits_tf.__file__).parents[1]
CASES = [*((name, read) for name in REFUSED for read in (read_volume, read_labels)),
         *((name, read_volume) for name in REFUSED_AS_SCAN)]


@pytest.fixture(scope="module")
def folder():
    """Folder of all bad scans, outside pytest's folder, which other users may not enter."""
    folder = pathlib.Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    for name, (make, _) in {**REFUSED, **REFUSED_AS_SCAN}.items():
        make(folder / name)
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def as_nobody():
    """Drops root's permission to read every file."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "read"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_bad_file_is_one_line_that_names_it(name, read, folder, caplog):
    said = {**REFUSED, **REFUSED_AS_SCAN}[name][1]
    with as_nobody(), pytest.raises(InputError, match=said) as caught:
        read(folder / name)
    message = str(caught.value)
    assert message.startswith(f"{folder / name}: ")
    assert len(message.splitlines()) == 1
    assert caplog.records == []


@pytest.mark.parametrize("name", ["missing.nii.gz", "folder.nii.gz", "text.nii.gz", "2d.nii.gz", "singular.nii",
                                  "huge.nii", "cut.nii", "ten_meters.nii.gz"])
def test_reading_geometry_alone_refuses_what_a_header_can_show(name, folder):
    with pytest.raises(InputError, match=REFUSED[name][1]):
        read_stored_geometry(folder / name)


def test_a_path_is_named_as_the_user_gave_it(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for given in ("2d.nii.gz", f"../{folder.name}/2d.nii.gz"):
        with pytest.raises(InputError) as caught:
            read_volume(given)
        assert str(caught.value).startswith(f"{given}: ")


def test_no_bad_file_takes_a_gibibyte(folder):
    """One process reads all files; its memory is limited to that of its imports plus 1 GiB."""
    program = (
        "import pathlib, resource, sys\n"
        "from kits_tf.scans.nifti import read_volume\n"
        "from kits_tf.errors import InputError\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + 2**30\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "refused = 0\n"
        "for name in sys.argv[2:]:\n"
        "    try:\n"
        "        read_volume(pathlib.Path(sys.argv[1]) / name)\n"
        "    except InputError:\n"
        "        refused += 1\n"
        # Not ru_maxrss, which includes the size of the parent process.
        "print(refused, open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n")
    names = [name for name in (*REFUSED, *REFUSED_AS_SCAN) if name != "unreadable.nii.gz"]  # root may read it
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", program, folder, *names], cwd=ROOT, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    refused, peak_kib = map(int, done.stdout.split())
    assert refused == len(names)
    assert peak_kib < 2**20
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 20
