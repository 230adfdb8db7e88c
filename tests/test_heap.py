"""Tests that a process that keeps freed memory gets no new pages when it allocates the same amount again."""

import pathlib
import platform
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PR_SET_THP_DISABLE = 41  # linux/prctl.h: pages of 2 MiB would make the counts small
PAGES_OF = f"""
import ctypes, resource, sys
import numpy
assert ctypes.CDLL(None).prctl({PR_SET_THP_DISABLE}, 1, 0, 0, 0) == 0
from kits_tf.heap import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def rounds(count):
    for _ in range(count):
        numpy.ones(16 * 2**20, numpy.uint8)
rounds(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
rounds(10)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back at once")
def test_freed_memory_is_used_again():
    def pages(mode):
        environment = {"PATH": "", "MALLOC_MMAP_THRESHOLD_": str(2**20)}  # a fixed threshold, as for larger blocks
        return int(subprocess.run([sys.executable, "-c", PAGES_OF, mode], capture_output=True, text=True, check=True,
                                  cwd=ROOT, env=environment).stdout)

    assert pages("keep") < 100 < pages("give") / 10


def test_another_libc_is_left_alone(monkeypatch):
    from kits_tf import heap

    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: object())
    assert not heap.keep_freed_memory()
