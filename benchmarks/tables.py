"""What all benchmarks share: taking turns, medians, tables in Markdown, and what the machine is."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import psutil

# Runs a command and says on its own last line how long it took and how much memory it took at most: in a process that
# has no other children, since Linux counts the most of all.
WATCH = """
import resource, subprocess, sys, time
began = time.perf_counter()
status = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(status)
"""


def alternate(rounds: int, **runs: Callable[[], object]) -> dict[str, list[float]]:
    """Calls functions in turn, so that whatever else the machine does slows all of them: seconds of every call.

    The first round, which builds graphs and fills caches, does not count.
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
    """(seconds, MiB at the peak) of a command. Raises RuntimeError with the end of what it said if it fails."""
    done = subprocess.run([sys.executable, "-c", WATCH, *map(str, command)], capture_output=True, text=True,
                          env={**os.environ, **(environment or {})})
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")
    seconds, mib = done.stdout.split()
    return float(seconds), float(mib)


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """How many times as long `one` takes as `other`: the median over pairs that ran one after the other."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def markdown(title: str, header: Sequence[str], rows: Sequence[Sequence[object]], remark: str = "") -> str:
    """A section with one table."""
    lines = [f"## {title}", "", *([remark, ""] if remark else []), header, ["---"] * len(header), *rows]
    return "\n".join(line if isinstance(line, str) else "| " + " | ".join(map(str, line)) + " |" for line in lines)


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]], remark: str = "") -> None:
    """Prints a section in Markdown."""
    print("\n" + markdown(title, header, rows, remark), flush=True)


def machine() -> str:
    """One line: the processor, cores, memory, versions and the date."""
    cpu = platform.processor()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        facts = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        names = {name.strip(): value.strip() for name, value in facts.items()}
        wide = [name for name in ("avx512f", "avx512_bf16", "amx_bf16") if name in names.get("flags", "").split()]
        cpu = f"{names.get('model name', cpu)} ({', '.join(wide) or 'no AVX-512'})"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("tensorflow", "keras", "numpy"))
    return (f"{cpu}, {cores} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB; Python "
            f"{platform.python_version()}, {packages}; {datetime.date.today()}")
