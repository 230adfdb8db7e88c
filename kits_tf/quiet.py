"""TensorFlow's own chatter, turned down for programs that people read the output of."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

from absl import logging as absl_logging


def quiet_tensorflow() -> None:
    """Leaves warnings and errors; to be called before TensorFlow is imported. The environment's own setting wins."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("tensorflow").setLevel(logging.WARNING)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """For importing TensorFlow: what is written to stderr inside is dropped, unless an exception is raised.

    From 2.20 on it says a few lines while it is loaded, before any setting of ours can reach it.
    """
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
