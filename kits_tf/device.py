"""Finds the device that TensorFlow computes on, and formats the first line of the commands that compute for long.

TensorFlow is imported only where it may find a GPU, so that a run on a CPU that has nothing to do ends at once.
"""

import os
import pathlib
import shutil
import sys
import typing

from kits_tf import environment, lazy
from kits_tf.quiet import say, warn

NVIDIA = ("/proc/driver/nvidia/version", "/dev/nvidia0")  # either is there if its driver is loaded
OTHERS = ("/dev/kfd",)  # AMD's driver


def _any(paths):
    return any(pathlib.Path(path).exists() for path in paths)


def has_nvidia() -> bool:
    """Returns whether this machine has an NVIDIA device that CUDA_VISIBLE_DEVICES does not hide."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip() in ("", "-1"):
        return False
    return _any(NVIDIA) or shutil.which("nvidia-smi") is not None


def has_gpu() -> bool:
    """Returns whether TensorFlow finds a GPU. Imports TensorFlow only if a GPU's driver is loaded."""
    if not (has_nvidia() or _any(OTHERS) or sys.platform == "darwin" or "tensorflow" in sys.modules):
        return False
    return bool(lazy.load("tensorflow").config.list_physical_devices("GPU"))


def visible_gpus() -> list[str]:
    """Returns the names of the NVIDIA devices in CUDA_VISIBLE_DEVICES, or else of all, without importing TensorFlow."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(len(list(pathlib.Path("/dev").glob("nvidia[0-9]*"))))]


def computes_fast_in_bfloat16() -> bool:
    """Returns whether this machine's processor computes our nets faster in bfloat16 than in float32.

    Measured: those with AMX do, and AMD's with avx512_bf16; Intel's without AMX do not (benchmarks/README.md).
    """
    facts = environment.processor()
    has = facts.get("flags", "").split()
    return "amx_bf16" in has or ("avx512_bf16" in has and "AuthenticAMD" in facts.get("vendor_id", ""))


def announce(precision: str, xla: bool, doing: str, gpu: bool | None = None,
             stream: typing.TextIO | None = None) -> None:
    """Prints the first line of a command: device, precision and whether XLA compiles.

    Warns if there is an NVIDIA device that TensorFlow cannot use.

    Args:
        precision: such as "float32".
        xla: whether XLA compiles.
        doing: what the command does, such as "predicting".
        gpu: as of has_gpu, if it is known.
        stream: where to print the line; None for stderr. The warning goes to stderr.
    """
    gpu = has_gpu() if gpu is None else gpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    where = "a GPU" if gpu else f"the CPU ({cores} core{'s' * (cores != 1)})"
    say(f"{doing} on {where} in {precision}, {'compiled by' if xla else 'without'} XLA", stream)
    if not gpu and has_nvidia():
        warn("THE NVIDIA DEVICE OF THIS MACHINE IS NOT USED, so that this takes many times as long: TensorFlow cannot "
             "use it; install its CUDA libraries with `make venv GPU=1` or `pip install -r requirements-gpu.txt`, and "
             "check the driver with nvidia-smi. CUDA_VISIBLE_DEVICES=-1 means to compute on the CPU")
