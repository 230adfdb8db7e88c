"""Runs the work of one case, in this process or on a worker, and records the outcome."""

import collections
import dataclasses
import os
import threading
import time
import traceback
import typing
from collections.abc import Callable, Iterable

from kits_tf import lazy
from kits_tf.errors import InputError, RunError, one_line, printable
from kits_tf.quiet import is_verbose, quiet_tensorflow


@dataclasses.dataclass(frozen=True)
class Job:
    """One case: its name and the function's keyword arguments, which must be small."""

    name: str
    arguments: dict


def counted(statuses: Iterable[str]) -> str:
    """Formats the number of cases per status, such as "3 done, 2 redone, 7 unchanged, 0 failed".

    Commands print it as their last line. "redone" and "incomplete" are left out if they are zero.
    """
    count = collections.Counter(statuses)
    return ", ".join(f"{count[status]} {status}" for status in ("done", "redone", "unchanged", "incomplete", "failed")
                     if status not in ("redone", "incomplete") or count[status])


@dataclasses.dataclass(frozen=True)
class Done:
    """The outcome of a case: the function's result, or one line with the reason for a failure; the other is None."""

    name: str
    result: dict | None
    failure: str | None
    seconds: float


def attempt(function: Callable[..., dict], job: Job, sharers: int | None = None) -> Done:
    """Runs one job.

    Args:
        function: called with the job's arguments.
        sharers: on a dask worker, the number of workers on its machine: TensorFlow gets an equal share of the cores,
            unless the environment sets the number of threads or TensorFlow has already started. None: not on dask, all
            cores.

    Returns:
        Done. An exception other than InputError is a bug in the program: its line names file and line.

    Raises:
        RunError: if the function raises one, because every other case would fail too.
    """
    quiet_tensorflow()
    if sharers:
        threads = max(1, lazy.load("dask.system").CPU_COUNT // sharers)  # available to this process or container
        for kind in ("INTRAOP", "INTEROP"):
            os.environ.setdefault(f"TF_NUM_{kind}_THREADS", str(threads))
    result = failure = None
    began = time.monotonic()
    try:
        result = function(**job.arguments)
    except RunError:
        raise
    except InputError as error:
        failure = printable(str(error))
    except Exception as error:
        if is_verbose():
            traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)[-1]
        failure = f"{job.name}: {type(error).__name__}: {one_line(error)} (in {where.filename}, line {where.lineno})"
    return Done(job.name, result, failure, round(time.monotonic() - began, 2))


_made: dict[Callable, tuple] = {}  # function to ((arguments, version), result)
_making = threading.Lock()


def once(function: Callable, *arguments: object, version: str = "") -> typing.Any:
    """Returns a function's result and caches it until the arguments or the version change. Thread-safe.

    A worker thus loads a model once, only when a case needs it, and again if another model has replaced it.
    """
    with _making:
        wanted = (arguments, version)
        if function not in _made or _made[function][0] != wanted:
            _made.pop(function, None)  # first, because memory may not suffice for two
            _made[function] = wanted, function(*arguments)
        return _made[function][1]
