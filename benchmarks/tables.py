"""Shared by all benchmarks: alternating runs, time and memory of a command, Markdown tables, the machine's facts."""

import datetime
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import psutil

from kits_tf import environment

# Runs a command and prints its seconds and peak memory on the last line. It runs in a process without other children,
# because Linux reports the maximum over all children.
WATCH = """
import resource, subprocess, sys, time
began = time.perf_counter()
status = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(status)
"""


def alternate(rounds: int, **runs: Callable[[], object]) -> dict[str, list[float]]:
    """Calls functions in turn, so that other load on the machine slows all of them. Returns the seconds of every call.

    The first round is left out, because it builds graphs and fills caches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, call in runs.items():
            began = time.perf_counter()
            call()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def watched(command: Sequence[str | os.PathLike], environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Runs a command and returns (seconds, peak MiB). Raises RuntimeError with the end of its output if it fails."""
    done = subprocess.run([sys.executable, "-c", WATCH, *map(str, command)], capture_output=True, text=True,
                          env={**os.environ, **(environment or {})})
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")
    seconds, mib = done.stdout.split()
    return float(seconds), float(mib)


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns the ratio of `one` to `other`: the median over pairs of calls that ran one after the other."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def markdown(title: str, header: Sequence[str], rows: Sequence[Sequence[object]], remark: str = "") -> str:
    """Formats a Markdown section with one table."""
    lines = [f"## {title}", "", *([remark, ""] if remark else []), header, ["---"] * len(header), *rows]
    return "\n".join(line if isinstance(line, str) else "| " + " | ".join(map(str, line)) + " |" for line in lines)


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]], remark: str = "") -> None:
    """Prints a Markdown section with one table."""
    print("\n" + markdown(title, header, rows, remark), flush=True)


def machine() -> str:
    """Returns one line with the processor, cores, memory, versions and date."""
    cpu = platform.processor()
    facts = environment.processor()
    if facts:
        wide = [name for name in ("avx512f", "avx512_bf16", "amx_bf16") if name in facts.get("flags", "").split()]
        cpu = f"{facts.get('model name', cpu)} ({', '.join(wide) or 'no AVX-512'})"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("tensorflow", "keras", "numpy"))
    return (f"{cpu}, {cores} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB; Python "
            f"{platform.python_version()}, {packages}; {datetime.date.today()}")
