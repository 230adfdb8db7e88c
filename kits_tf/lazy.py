"""Late imports in one place. TensorFlow takes seconds to import, dask and Matplotlib half a second each.

--help, a mistyped path and a run in which everything is up to date need none of them and return at once. All other
imports are at the top of their file (tests/test_floors.py checks this), except in the commands (__main__.py, train.py,
predict.py): they import inside `main` what --help does not need.
"""

import contextlib
import gc
import importlib
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterator

from kits_tf.quiet import hushed

importing = threading.RLock()  # held while stderr is redirected: other threads take it before they print
_pauses, _pausing = 0, threading.Lock()


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Pauses Python's garbage collector, which takes a tenth of the time in which TensorFlow and a model are loaded."""
    global _pauses
    with _pausing:
        _pauses += 1
        gc.disable()
    try:
        yield
    finally:
        with _pausing:
            _pauses -= 1
            if not _pauses:
                gc.enable()


def load(module: str) -> types.ModuleType:
    """Imports a module when called, and drops what TensorFlow prints to stderr during the import."""
    if module in sys.modules:
        return importlib.import_module(module)
    with importing, hushed(), uncollected():
        return importlib.import_module(module)


def attach(package: str, **modules: str) -> Callable[[str], typing.Any]:
    """Returns a `__getattr__` for a package (PEP 562) that imports some of its names at their first use.

    Args:
        package: the package's `__name__`.
        modules: maps each name to the module that defines it.
    """

    def get(name: str) -> typing.Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(load(modules[name]), name)

    return get
