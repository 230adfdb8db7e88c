"""One case's work, as it is done wherever that may be."""

import collections
import dataclasses
import os
import threading
import time
import traceback
import typing
from collections.abc import Callable, Iterable

from kits_tf import lazy
from kits_tf.errors import InputError, RunError
from kits_tf.quiet import is_verbose, quiet_tensorflow


@dataclasses.dataclass(frozen=True)
class Job:
    """One case: its name, and the keyword arguments of the function, all of them small."""

    name: str
    arguments: dict


def counted(statuses: Iterable[str]) -> str:
    """How many cases there are of each status, as a command's last line has it: "3 done, 2 redone, 7 unchanged,
    0 failed". What was redone is left out where nothing was."""
    count = collections.Counter(statuses)
    return ", ".join(f"{count[status]} {status}" for status in ("done", "redone", "unchanged", "failed")
                     if status != "redone" or count[status])


@dataclasses.dataclass(frozen=True)
class Done:
    """What became of a case: what the function returned, or one line that says why it failed; the other is None."""

    name: str
    result: dict | None
    failure: str | None
    seconds: float


def attempt(function: Callable[..., dict], job: Job, sharers: int | None = None) -> Done:
    """Does one job.

    Args:
        function: called with the job's arguments.
        job: Job.
        sharers: on a dask worker, how many workers share its machine: TensorFlow takes as large a part of the cores,
            unless the environment says otherwise or it has begun already. None: not on dask, and all cores.

    Returns:
        Done. An exception that is no InputError is a fault of the program: its line names the place.

    Raises:
        RunError: what no other case would escape.
    """
    quiet_tensorflow()
    if sharers:
        threads = max(1, lazy.load("dask.system").CPU_COUNT // sharers)  # of this process or container
        for kind in ("INTRAOP", "INTEROP"):
            os.environ.setdefault(f"TF_NUM_{kind}_THREADS", str(threads))
    result = failure = None
    began = time.monotonic()
    try:
        result = function(**job.arguments)
    except RunError:
        raise
    except InputError as error:
        failure = str(error)
    except Exception as error:
        if is_verbose():
            traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)[-1]
        failure = f"{job.name}: {one_line(error)} (in {where.filename}, line {where.lineno})"
    return Done(job.name, result, failure, round(time.monotonic() - began, 2))


def one_line(error: BaseException) -> str:
    """An exception's kind and message, short and without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


_made: dict[Callable, tuple] = {}  # function to (what it was asked for, what it returned)
_making = threading.Lock()


def once(function: Callable, *arguments: object, version: str = "") -> typing.Any:
    """What a function returns for these arguments: called at the first need and then kept, until it is asked for with
    other arguments or of another version.

    So a worker loads a model once, only if there is a case to use it on, and anew if there is another in its place.
    """
    with _making:
        wanted = (arguments, version)
        if function not in _made or _made[function][0] != wanted:
            _made.pop(function, None)  # before the next is made: there may not be room for two
            _made[function] = wanted, function(*arguments)
        return _made[function][1]
