"""Maps a function over cases: in this process, in local processes, or on a cluster that is there already.

    --workers=N                 N processes on this machine; a GPU each where there are GPUs
    --scheduler=tcp://HOST:PORT a running dask.distributed cluster (BUILD.md: SLURM, Kubernetes)
    neither                     this process, one case after the other or two that overlap, without dask

Work travels as a function (by its name: dask pickles functions by reference), paths and settings; results are small
dicts. No volume is ever sent. A case that
fails, or whose workers keep dying, is one line, and the others go on; a worker that dies is replaced and its case given
to another. A lost scheduler, a full disk, or a model that cannot be loaded ends the run.
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
    """Calls a function for every case, with a progress bar (or a line now and then where no terminal watches), and
    prints a line for each case that failed.

    Args:
        function: called with a job's arguments, where the work is done. It returns a small dict, and raises InputError
            for what the user can mend. A function of a module: workers import it from there.
        jobs: list of Job, each of another name.
        doing: what the progress bar says, as "predicting".
        place: Place.
        gpu: whether the work wants a GPU: then it goes to workers that have one, if the cluster has any such.
        overlap: whether in this process a case begins before the one ahead of it has ended. The function sees to it
            that what needs the whole machine is done for one case at a time.

    Yields:
        Done, in the order in which cases are finished.

    Raises:
        RunError: what ends the whole run: an absent or lost scheduler, and what the function raised as such.
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
