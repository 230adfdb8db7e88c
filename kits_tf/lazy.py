"""Late imports, all in one place. TensorFlow takes seconds to import, dask and Matplotlib half a second each.

--help, a mistyped path and a run that finds everything up to date need none of them, and answer at once. Elsewhere
imports stand at the top of a file (tests/test_floors.py); the commands (__main__.py, train.py, predict.py) import
inside `main` what they do not need for --help.
"""

import importlib
import sys
import threading
import types
import typing
from collections.abc import Callable

from kits_tf.quiet import hushed

importing = threading.RLock()  # held while stderr is hushed, for all threads: whoever has something to say waits for it


def load(module: str) -> types.ModuleType:
    """Imports a module when it is called, without what TensorFlow prints while it is imported."""
    if module in sys.modules:
        return importlib.import_module(module)
    with importing, hushed():
        return importlib.import_module(module)


def attach(package: str, **modules: str) -> Callable[[str], typing.Any]:
    """The `__getattr__` of a package (PEP 562) that imports some of its names at their first use.

    Args:
        package: the package's `__name__`.
        modules: name to the module that defines it.
    """

    def get(name: str) -> typing.Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(load(modules[name]), name)

    return get
