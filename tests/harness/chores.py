"""Work for workers that takes no time and needs no TensorFlow: what the cluster does with it is what is tested."""

import os
import pathlib
import signal
import time

import psutil

from kits_tf import cluster, lazy
from kits_tf.errors import InputError, RunError


def note(number, folder):
    """Leaves a file per call and says who did it."""
    (pathlib.Path(folder) / f"{number} by {os.getpid()}").touch()
    time.sleep(0.2)  # long enough for the other worker to get its share
    return {"number": number, "pid": os.getpid(), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}


def stumble(number, folder):
    """Case 2 is the user's mistake, case 3 the program's; the others are done."""
    if number == 2:
        raise InputError("case2/imaging.nii.gz: is no scan\n".strip())
    if number == 3:
        raise KeyError("no\nkidney")
    return note(number, folder)


def fail_or_import(number):
    """Case 0 fails while case 1 imports."""
    if number == 0:
        time.sleep(0.5)
        raise InputError("case_0: is no scan")
    return {"number": lazy.load("long_to_import").work()}


def meet(number, folder):
    """Whether the other of two cases, 0 and 1, 2 and 3, is begun while this one is at work."""
    (pathlib.Path(folder) / f"begun {number}").touch()
    until = time.monotonic() + 20.0
    while not (met := (pathlib.Path(folder) / f"begun {number ^ 1}").exists()) and time.monotonic() < until:
        time.sleep(0.01)
    return {"met": met, "pid": os.getpid()}


def die(number, folder):
    """Case 1 takes its worker with it, every time."""
    if number == 1:
        with open(pathlib.Path(folder) / "deaths", "a") as stream:
            stream.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return note(number, folder)


def fill_the_disk(number):
    raise RunError(f"out/{number}: cannot be written (No space left on device)")


def listening(number):
    """The addresses at which this worker, its siblings and what started them listen."""
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
