"""A dask scheduler and its workers as processes on loopback, to be killed."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time

import psutil

ROOT = pathlib.Path(__file__).parents[2]
HOST = "127.0.0.1"


def start(program, *arguments):
    """A process of distributed's command line, quiet, that can import this project and these tests."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
                   "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen([sys.executable, "-m", f"distributed.cli.{program}", *arguments], env=environment,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def free_port():
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


def kill(process):
    """SIGKILL to a process and all that came from it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
    process.wait()


def worker_processes(pid):
    """The processes that do the work, below the one that watches over them."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in psutil.Process(pid).children(recursive=True) if _is_worker(child)]
    return []


def _is_worker(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return any("spawn_main" in word for word in process.cmdline())
    return False


class Processes:
    """A scheduler and `workers` workers of one thread each; all are killed at the end of the block."""

    def __init__(self, workers):
        self.count, self.port = workers, free_port()
        self.address = f"tcp://{HOST}:{self.port}"
        self.scheduler = self.workers = None

    def __enter__(self):
        self.start()
        return self

    def start(self):
        """Starts what does not run."""
        if self.scheduler is None:
            self.scheduler = start("dask_scheduler", "--host", HOST, "--port", str(self.port), "--dashboard-address",
                                   f"{HOST}:0")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1):
                break
            time.sleep(0.1)
        if self.workers is not None:
            kill(self.workers)
        self.workers = start("dask_worker", self.address, "--host", HOST, "--nworkers", str(self.count), "--nthreads",
                             "1", "--no-dashboard")

    def kill_scheduler(self):
        kill(self.scheduler)
        self.scheduler = None

    def __exit__(self, *_):
        for process in (self.workers, self.scheduler):
            if process is not None:
                kill(process)
