"""Distributes cases over the workers of a dask.distributed cluster, which is started here or already runs."""

import collections
import contextlib
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence

import dask
import distributed
from distributed.system import MEMORY_LIMIT

from kits_tf import device
from kits_tf.cluster.jobs import Done, Job, attempt
from kits_tf.cluster.places import Place
from kits_tf.errors import RunError, one_line
from kits_tf.quiet import is_verbose, say

LOOPBACK = "127.0.0.1"  # address of the scheduler, workers and dashboard that are started here
DEATHS = 2  # worker deaths after which a case is retried alone, or given up if it ran alone
PATIENCE = "15s"  # timeout for the scheduler's answer
ASKED_EVERY = 2.0  # seconds between two queries of the number of workers


def attempt_all(function: Callable[..., dict], jobs: Iterable[Job], place: Place, gpu: bool) -> Iterator[Done]:
    """Does the same as kits_tf.cluster.run, but shows no progress and prints no failures."""
    jobs = list(jobs)
    _hush_dask()
    with contextlib.ExitStack() as stack:
        try:
            if place.workers:
                cluster = stack.enter_context(local_cluster(*_shares(place.workers, len(jobs), gpu)))
            client = stack.enter_context(distributed.Client(cluster if place.workers else place.scheduler,
                                                            timeout=PATIENCE, set_as_default=False))
        except (OSError, ValueError) as error:
            flag = f"--workers={place.workers}" if place.workers else f"--scheduler={place.scheduler}"
            expected = "local processes cannot be started" if place.workers else "no dask scheduler answers"
            raise RunError(f"{flag}: {expected} ({one_line(error)})") from error
        say(f"dashboard: {client.dashboard_link}")
        yield from _submit_all(client, function, jobs, gpu)


def _shares(wanted, jobs, gpu):
    """Returns the number of local processes to start and the GPUs to share out among them.

    Cases that need a GPU go to processes with one, so that others would be idle: no more are started than there are
    GPUs, if there are any.
    """
    workers, gpus = max(1, min(wanted, jobs)), device.visible_gpus()
    if gpu and gpus and not device.has_gpu():  # TensorFlow cannot use them, so that every process computes on the CPU
        gpus = []
    if gpu and gpus and workers > len(gpus):
        say(f"--workers={wanted}: starting {len(gpus)}, one for each GPU")
        workers = len(gpus)
    return workers, gpus


def _hush_dask():
    """Silences dask's loggers: our own messages report a worker's death or a lost connection."""
    if is_verbose():
        return
    for name in ("distributed", "distributed.client", "distributed.nanny", "distributed.worker"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def local_cluster(workers: int, gpus: Sequence[str] = ()) -> Iterator[distributed.SpecCluster]:
    """Starts a cluster of processes on this machine and stops it when the block ends.

    Each process gets its own GPU of those named, as long as there are GPUs left. A process that dies, or exceeds its
    share of the memory, is replaced.
    """
    # Python's resource tracker would warn of semaphores that killed processes leaked.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::UserWarning:multiprocessing.resource_tracker")
    options = {"host": LOOPBACK, "nthreads": 1, "dashboard": False, "silence_logs": logging.CRITICAL,
               "memory_limit": MEMORY_LIMIT // workers}
    specs = {}
    for number in range(workers):
        own = {}
        if gpus:
            own = {"env": {"CUDA_VISIBLE_DEVICES": gpus[number] if number < len(gpus) else ""},
                   "resources": {"GPU": 1} if number < len(gpus) else {}}
        specs[number] = {"cls": distributed.Nanny, "options": {**options, **own}}
    scheduler = {"cls": distributed.Scheduler, "options": {"host": LOOPBACK, "dashboard_address": f"{LOOPBACK}:0"}}
    # TensorFlow does not return memory, so a worker that pauses until its memory shrinks would wait forever.
    settings = {"distributed.worker.memory.target": False, "distributed.worker.memory.spill": False,
                "distributed.worker.memory.pause": False, "distributed.scheduler.allowed-failures": DEATHS - 1}
    with dask.config.set(settings), distributed.SpecCluster(specs, scheduler, silence_logs=logging.CRITICAL) as cluster:
        yield cluster


def _submit_all(client, function, jobs, gpu):
    """Submits as many cases as there are workers at a time, so that few are blamed for a worker's death.

    A case that is blamed DEATHS times is retried alone at the end.
    """
    waiting, under_way, done = collections.deque(jobs), {}, 0
    suspects, tried_alone = collections.deque(), set()
    completed = distributed.as_completed(loop=client.loop)
    name, run = function.__name__, uuid.uuid4().hex[:8]
    room, resources, sharers, asked = 0, None, 1, -ASKED_EVERY
    try:
        _wait_for_a_worker(client)
        while waiting or under_way or suspects:
            if client.status != "running":  # else the calls below would block while the client tries to reconnect
                raise ConnectionError("connection closed")
            if time.monotonic() - asked > ASKED_EVERY:
                room, gpus, sharers = _room(client)
                if gpu and (gpus or resources):  # also while all workers with a GPU are being replaced
                    room, resources = gpus, {"GPU": 1}
                asked = time.monotonic()
            if not waiting and not under_way:
                waiting.append(suspects.popleft())
                tried_alone.add(waiting[0].name)
            while waiting and len(under_way) < max(1, room):
                job = waiting.popleft()
                key = f"{name}-{job.name}-{run}{'-alone' * (job.name in tried_alone)}"
                future = client.submit(attempt, function, job, sharers, key=key, pure=False, resources=resources)
                under_way[future] = job
                completed.add(future)
            future = next(completed)
            job = under_way.pop(future)
            try:
                result = future.result()
            except distributed.KilledWorker as error:
                if job.name not in tried_alone:
                    suspects.append(job)
                    continue
                result = Done(job.name, None, f"{job.name}: its worker died {error.allowed_failures + 1} times "
                              f"while it ran alone (out of memory?); the case is skipped", 0.0)
            done += 1
            yield result
    except (distributed.CancelledError, OSError) as error:
        raise RunError(f"the dask scheduler was lost after {done} of {len(jobs)} cases ({one_line(error)}); restart "
                       f"it, then rerun the command") from error
    except ModuleNotFoundError as error:
        raise RunError(f"a worker cannot import {error.name}: install this project and its requirements there"
                       ) from error


def _wait_for_a_worker(client):
    if not client.scheduler_info(n_workers=-1)["workers"]:
        say("waiting for a worker to join the cluster")
        client.wait_for_workers(1)


def _room(client):
    """Returns (number of cases that fit at a time, number of GPUs, largest number of workers on one machine)."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    gpus = sum(int(worker["resources"].get("GPU", 0)) for worker in workers)
    sharers = max(collections.Counter(worker["host"] for worker in workers).values(), default=1)
    return sum(worker["nthreads"] for worker in workers), gpus, sharers
