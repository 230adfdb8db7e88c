"""Fast jobs without TensorFlow, for tests of the cluster."""

import os
import pathlib
import signal
import time

import psutil

from kits_tf import cluster, lazy
from kits_tf.errors import InputError, RunError


def note(number, folder):
    """Writes one file per call; the result names the process."""
    (pathlib.Path(folder) / f"{number} by {os.getpid()}").touch()
    time.sleep(0.2)  # gives the other worker time to take jobs
    return {"number": number, "pid": os.getpid(), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}


def stumble(number, folder):
    """Fails with a user error for case 2 and a program error for case 3; other cases succeed."""
    if number == 2:
        raise InputError("case2/imaging.nii.gz: is no scan\n".strip())
    if number == 3:
        raise KeyError("no\nkidney")
    return note(number, folder)


def fail_or_import(number):
    """Fails for case 0 while case 1 imports a module."""
    if number == 0:
        time.sleep(0.5)
        raise InputError("case_0: is no scan")
    return {"number": lazy.load("long_to_import").work()}


def meet(number, folder):
    """Tests whether the other case of a pair (0 and 1, 2 and 3) starts while this one runs."""
    (pathlib.Path(folder) / f"begun {number}").touch()
    until = time.monotonic() + 20.0
    while not (met := (pathlib.Path(folder) / f"begun {number ^ 1}").exists()) and time.monotonic() < until:
        time.sleep(0.01)
    return {"met": met, "pid": os.getpid()}


def die(number, folder):
    """Kills its worker for case 1, every time."""
    if number == 1:
        with open(pathlib.Path(folder) / "deaths", "a") as stream:
            stream.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return note(number, folder)


def fill_the_disk(number):
    raise RunError(f"out/{number}: cannot be written (No space left on device)")


def listening(number):
    """Returns the addresses on which this worker, its siblings and their parent process listen."""
    root = psutil.Process().parent()
    processes = [root, *root.children(recursive=True)]
    found = {connection.laddr.ip for process in processes for connection in process.net_connections("inet")
             if connection.status == psutil.CONN_LISTEN}
    return {"number": number, "addresses": sorted(found)}


def model(name):
    with open(name, "a") as stream:
        stream.write("x")
    return object()


def use_model(number, name):
    time.sleep(0.2)
    return {"number": number, "model": id(cluster.once(model, name)), "pid": os.getpid(),
            "threads": os.environ.get("TF_NUM_INTRAOP_THREADS")}
