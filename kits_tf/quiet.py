"""How much is said: a command's own words and bars, and TensorFlow's chatter."""

import contextlib
import logging
import os
import sys
import tempfile
import time
import typing
from collections.abc import Callable, Iterator

from absl import logging as absl_logging

SECONDS_BETWEEN = 30.0  # lines that say how far a long step has come

_level = 0


def set_level(level: int) -> None:
    """-1: warnings and errors alone (--quiet); 0: as usual; 1: what TensorFlow, gRPC and dask say too (--verbose)."""
    global _level
    _level = level


def say(line: str, stream: typing.TextIO | None = None) -> None:
    """Prints what is good to know, but no result and no warning, to stderr unless told otherwise."""
    if _level >= 0:
        print(line, file=stream or sys.stderr, flush=True)


def no_bar() -> bool | None:
    """What tqdm takes as `disable`: no bar if nothing is to be said, nor where no terminal watches."""
    return True if _level < 0 else None


def now_and_then(doing: str, total: int) -> Callable[[int], None]:
    """What stands in for a bar where no terminal watches, as in a notebook or a cluster's log.

    Args:
        doing: as "predicting".
        total: how many there are to do.

    Returns:
        A function to be called with how many are done: it says so, but no oftener than every SECONDS_BETWEEN.
    """
    said = time.monotonic()

    def tell(done: int) -> None:
        nonlocal said
        if done < total and time.monotonic() - said >= SECONDS_BETWEEN and not sys.stderr.isatty():
            say(f"{doing}: {done} of {total}")
            said = time.monotonic()

    return tell


def is_verbose() -> bool:
    """Whether everything is to be said."""
    return _level > 0


def quiet_tensorflow() -> None:
    """Leaves warnings and errors; to be called before TensorFlow and gRPC are imported. The environment's own settings
    win."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if is_verbose() else "3")
    if is_verbose():
        return
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # a line per attempt; what it says is in the exception too
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("tensorflow").setLevel(logging.WARNING)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """For importing TensorFlow: what is written to stderr inside is dropped, unless an exception is raised.

    From 2.20 on it says a few lines while it is loaded, before any setting of ours can reach it.
    """
    if is_verbose():
        yield
        return
    with tempfile.TemporaryFile() as said:
        sys.stderr.flush()
        before = os.dup(2)
        try:
            os.dup2(said.fileno(), 2)
            yield
        except BaseException:
            said.seek(0)
            os.write(before, said.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
