"""Tests that a randomly changed NIfTI file gives a valid Volume or our one-line error, in limited time and memory."""

import pathlib
import subprocess
import sys

import pytest

import kits_tf

ROOT = pathlib.Path(kits_tf.__file__).parents[1]
SECONDS = 60

# Runs in its own process: hypothesis changes fields and bytes, and each file is read as a scan and as labels.
PROGRAM = """
import faulthandler, gzip, io, pathlib, resource, sys, tempfile
import nibabel as nib
import numpy as np
from hypothesis import given, settings, strategies as st
from kits_tf.scans.nifti import read_labels, read_stored_geometry, read_volume, write_labels
from kits_tf.errors import InputError
from kits_tf.volume import Volume
from kits_tf.scans.warnings import scan_warnings

faulthandler.dump_traceback_later({seconds}, exit=True)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

folder = pathlib.Path(tempfile.mkdtemp(dir=sys.argv[1]))
voxels = np.random.default_rng(0).integers(0, 3, (5, 6, 7)).astype(np.int16)
affine = np.diag([-0.8, -0.9, 3.0, 1.0])
seen = dict(read=0, refused=0)


def whole(kind):
    image = kind(voxels, affine)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"a comment"))
    return image.to_bytes()


FILES = {{kind: whole(kind) for kind in (nib.Nifti1Image, nib.Nifti2Image)}}
EDGES = [0, 1, 2, 3, 7, 16, 255, 256, 348, 352, 540, 2**15 - 1, 2**15, 2**31 - 1, 2**31, 2**62, -1, -2, -2**31]
FLOATS = [0.0, -1.0, 1e-30, 1e30, 3.5, float("nan"), float("inf"), -float("inf")]


@st.composite
def changed(draw):
    kind = draw(st.sampled_from(list(FILES)))
    raw, dtype = bytearray(FILES[kind]), kind.header_class.template_dtype
    if draw(st.booleans()):
        swapped = kind.from_bytes(bytes(raw)).header.as_byteswapped().binaryblock
        raw[:len(swapped)] = swapped
    for name in draw(st.lists(st.sampled_from(dtype.names), max_size=3)):
        field, offset = dtype.fields[name][:2]
        at = draw(st.integers(0, max(0, field.itemsize // field.base.itemsize - 1))) * field.base.itemsize
        if field.base.kind == "f":
            value = np.array(draw(st.sampled_from(FLOATS) | st.floats(width=32)), field.base).tobytes()
        elif field.base.kind in "iu":
            bits = 8 * field.base.itemsize
            value = (draw(st.sampled_from(EDGES) | st.integers(-2**15, 2**15)) % 2**bits).to_bytes(bits // 8, "little")
        else:
            value = draw(st.binary(min_size=1, max_size=field.base.itemsize))
        raw[offset + at:offset + at + len(value)] = value
    for at, byte in draw(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=4)):
        raw[at % len(raw)] = byte
    cut = draw(st.none() | st.integers(0, len(raw)))
    raw = bytes(raw[:cut])
    if draw(st.booleans()):
        packed = bytearray(gzip.compress(raw, 1))
        for at, byte in draw(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=2)):
            packed[at % len(packed)] = byte
        return ".nii.gz", bytes(packed)
    return ".nii", raw


def attempt(read, path):
    try:
        volume = read(path)
    except InputError as error:
        assert str(error).startswith(str(path)) and len(str(error).splitlines()) == 1, repr(str(error))
        seen["refused"] += 1
        return None
    seen["read"] += 1
    assert isinstance(volume, Volume) and volume.voxels.flags.c_contiguous
    assert volume.voxels.dtype in (np.int16, np.float32, np.uint8) and np.isfinite(volume.voxels).all()
    return volume


@settings(deadline=None, max_examples={examples}, derandomize=True, database=None)
@given(changed())
def fuzz(file):
    ending, raw = file
    path = folder / ("scan" + ending)
    path.write_bytes(raw)
    attempt(read_labels, path)
    volume = attempt(read_volume, path)
    if volume is not None:
        assert sorted(read_stored_geometry(path)[0]) == sorted(volume.voxels.shape)
        assert all(isinstance(line, str) for line in scan_warnings(volume, (3.0, 0.8, 0.8)))
        write_labels(folder / "labels.nii.gz", (volume.voxels > 0).astype(np.uint8), like=path)


fuzz()
# Not ru_maxrss, which knows the size of the process that started this one.
print(seen["read"], seen["refused"], open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def fuzz(folder, examples, seconds):
    """Returns the number of successful reads, the number of refused reads, and the peak memory in MiB."""
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(examples=examples, seconds=seconds), folder], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    read, refused, peak_kib = map(int, done.stdout.split())
    return read, refused, peak_kib / 1024


def test_changed_files_are_volumes_or_our_own_line(tmp_path):
    read, refused, peak_mib = fuzz(tmp_path, 400, SECONDS)
    assert read > 50
    assert refused > 200
    assert peak_mib < 1024


@pytest.mark.soak
def test_ten_thousand_changed_files_are_volumes_or_our_own_line(tmp_path):
    _, _, peak_mib = fuzz(tmp_path, 10_000, 1800)
    assert peak_mib < 1024
