"""Maps a function over cases: in this process, in local processes, or on an existing cluster.

    --workers=N                 N processes on this machine, each with its own GPU if there are enough
    --scheduler=tcp://HOST:PORT a running dask.distributed cluster (docs/clusters.md: SLURM, Kubernetes)
    neither                     this process, one case at a time or two that overlap, without dask

Workers receive a function (dask pickles it by reference, that is by its name), paths and settings, and return small
dicts; volumes are never sent. A case that fails, or whose workers keep dying, is reported in one line, and the other
cases continue. A worker that dies is replaced, and its case goes to another worker. A lost scheduler, a full disk, or a
model that cannot be loaded ends the run.
"""

import concurrent.futures
import contextlib
import sys
from collections.abc import Callable, Iterator

import tqdm

from kits_tf import lazy
from kits_tf.cluster.jobs import Done, Job, attempt, counted, once
from kits_tf.cluster.places import FLAGS, HERE, Place, define_flags, place_from_flags
from kits_tf.quiet import no_bar, now_and_then

__all__ = ["FLAGS", "HERE", "Done", "Job", "Place", "counted", "define_flags", "once", "place_from_flags",
           "run"]


def run(function: Callable[..., dict], jobs: list[Job], doing: str, place: Place = HERE, gpu: bool = False,
        overlap: bool = False) -> Iterator[Done]:
    """Calls a function for every case, shows progress, and prints a line for each case that failed.

    Progress is a bar, or a periodic line if stderr is not a terminal.

    Args:
        function: called with a job's arguments, in the process that does the work. It returns a small dict, and raises
            InputError for errors that the user can fix. It must be defined in a module, from which workers import it.
        jobs: list of Job with unique names.
        doing: label of the progress bar, such as "predicting".
        gpu: whether the work needs a GPU: it then goes to workers with a GPU, if the cluster has any.
        overlap: whether two cases may run at a time in this process; ignored elsewhere. The function must serialize
            the steps that need the whole machine.

    Yields:
        Done, in the order of completion on a cluster, and in the order of `jobs` in this process.

    Raises:
        RunError: for an error that ends the whole run: a missing or lost scheduler, or a RunError of the function.
    """
    if place == HERE:
        found = _overlapping(function, jobs) if overlap else (attempt(function, job) for job in jobs)
    else:
        found = lazy.load("kits_tf.cluster.on_dask").attempt_all(function, jobs, place, gpu)
    with contextlib.closing(found):
        tell = now_and_then(f"{doing} cases", len(jobs))
        bar = tqdm.tqdm(found, doing, len(jobs), unit="case", file=sys.stderr, disable=no_bar())
        for number, done in enumerate(bar, start=1):
            if done.failure is not None:
                with lazy.importing:
                    tqdm.tqdm.write(f"failed: {done.failure}", file=sys.stderr)
            tell(number)
            yield done


def _overlapping(function, jobs):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield from pool.map(lambda job: attempt(function, job), jobs)
