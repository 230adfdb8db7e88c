"""Output verbosity of the commands (messages and progress bars), and suppression of TensorFlow's log."""

import contextlib
import logging
import os
import sys
import tempfile
import time
import typing
from collections.abc import Callable, Iterator

from absl import logging as absl_logging

from kits_tf import environment
from kits_tf.errors import printable

SECONDS_BETWEEN = 30.0  # between two progress lines of a long step

_level = 0


def set_level(level: int) -> None:
    """Sets the level: -1 only warnings and errors (--quiet); 0 default; 1 also TensorFlow, gRPC, dask (--verbose)."""
    global _level
    _level = level


def say(line: str, stream: typing.TextIO | None = None) -> None:
    """Prints an informational line, neither result nor warning, to `stream` or stderr; nothing with --quiet."""
    if _level >= 0:
        print(line, file=stream or sys.stderr, flush=True)


def warn(line: str) -> None:
    """Prints a warning to stderr, at every level."""
    print(f"warning: {printable(line)}", file=sys.stderr, flush=True)


def no_bar() -> bool | None:
    """Returns tqdm's `disable`: True with --quiet, else None (no bar if stderr is not a terminal)."""
    return True if _level < 0 else None


def now_and_then(doing: str, total: int) -> Callable[[int], None]:
    """Prints periodic progress lines when stderr is not a terminal, as in a notebook or a cluster's log.

    Args:
        doing: the first words of each line, such as "predicting".
        total: number of items.

    Returns:
        A function that takes the number of finished items. It prints a line at most every SECONDS_BETWEEN seconds.
    """
    last = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last
        if done < total and time.monotonic() - last >= SECONDS_BETWEEN and not sys.stderr.isatty():
            say(f"{doing}: {done} of {total}")
            last = time.monotonic()

    return tell


def is_verbose() -> bool:
    """Returns whether --verbose is set."""
    return _level > 0


def quiet_tensorflow() -> None:
    """Suppresses log messages of TensorFlow and gRPC, unless --verbose is set. Call it before they are imported.

    TensorFlow's Python loggers keep warnings and errors; its C++ code logs fatal errors only, and gRPC nothing.
    Environment variables that are already set take precedence.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if is_verbose() else "3")
    if is_verbose():
        return
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it logs a line per attempt; the exception has the same text
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("tensorflow").setLevel(logging.WARNING)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Drops what is written to stderr while TensorFlow is imported, unless an exception is raised.

    Every import of TensorFlow goes through here, so the processor is checked here too.

    TensorFlow 2.20 and later print a few lines during import, before any of our settings can take effect. With
    --verbose nothing is dropped.

    Raises:
        RunError: if TensorFlow cannot run on this processor.
    """
    environment.check_processor()
    if is_verbose():
        yield
        return
    with tempfile.TemporaryFile() as dropped:
        sys.stderr.flush()
        try:
            with stderr_to(dropped):
                yield
        except BaseException:
            dropped.seek(0)
            os.write(2, dropped.read())
            raise


@contextlib.contextmanager
def stderr_to(file: typing.BinaryIO) -> Iterator[None]:
    """Redirects the process's stderr to an open file, also what libraries in C and C++ print."""
    before = os.dup(2)
    try:
        os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
