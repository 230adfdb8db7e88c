"""Handles what a container or a pipe may lack: open streams, a home, a temporary folder, a processor with AVX.

Each function either provides it or raises an error of one line, before a library ends the run with a stack trace.
"""

import atexit
import contextlib
import io
import logging
import os
import pathlib
import platform
import shutil
import sys
import tempfile

from kits_tf.errors import InputError, RunError

CPUINFO = pathlib.Path("/proc/cpuinfo")
_replaced: list = []  # streams whose descriptors are still in use; the end of a stream would close its own


class _Unfailing(io.FileIO):
    """A file descriptor that drops what cannot be written, for example because the reader of a pipe has ended."""

    def write(self, data):
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


def mend_streams() -> None:
    """Replaces sys.stdout and sys.stderr, so that printing never fails: letters that a terminal lacks are escaped.

    Closed descriptors are opened on /dev/null, since the next file that is opened would take their numbers, and
    TensorFlow's messages would go into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream, encoding = getattr(sys, name), "utf-8"
        if stream is not None:
            try:
                descriptor, encoding = stream.fileno(), stream.encoding
            except (OSError, AttributeError):  # no file, as in a notebook
                continue
            with contextlib.suppress(OSError):
                stream.flush()
            _replaced.append(stream)
        raw = io.BufferedWriter(_Unfailing(descriptor, "w", closefd=False))
        setattr(sys, name, io.TextIOWrapper(raw, encoding, "backslashreplace",
                                            line_buffering=name == "stderr" or raw.isatty()))


def check_folders() -> None:
    """Checks that temporary files can be written, and gives a user without a home a temporary one.

    bokeh and dask cannot be imported without a home. Matplotlib takes a temporary folder where its own cannot be
    written to, and warns of it.

    Raises:
        InputError: if there is no place for temporary files.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise InputError("no folder for temporary files can be written to, /tmp or another; set TMPDIR to one that can"
                         ) from error
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        pathlib.Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.mkdtemp(prefix="kits_tf-home-")
        atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)


def processor() -> dict[str, str]:
    """Returns what /proc/cpuinfo says of the first processor, such as `flags` and `vendor_id`; {} without that file."""
    try:
        with open(CPUINFO, encoding="ascii", errors="replace") as stream:
            first = stream.read(2**16).split("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def check_processor() -> None:
    """Checks that TensorFlow can be imported: its packages for x86 need AVX and end the process without it.

    Raises:
        RunError: if /proc/cpuinfo lists the processor's flags, and AVX is not among them.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return
    flags = processor().get("flags")
    if flags is not None and "avx" not in flags.split():
        raise RunError(f"{platform.node()}: its processor has no AVX, which TensorFlow needs; run this on another "
                       f"machine, or let a virtual machine pass the processor through (QEMU: -cpu host)")
