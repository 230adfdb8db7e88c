"""Runs a dask scheduler and its workers as processes on loopback, which tests can kill."""

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
    """Starts a quiet process of distributed's command line that can import this project and these tests."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
                   "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen([sys.executable, "-m", f"distributed.cli.{program}", *arguments], env=environment,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def free_ports(number):
    """Returns unused ports."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(number)]
        for listener in listeners:
            listener.bind((HOST, 0))
        return [listener.getsockname()[1] for listener in listeners]


def kill(process):
    """Kills a process and all its descendants with SIGKILL."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
    process.wait()


def worker_processes(pid):
    """Returns the worker processes below their supervising process."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in psutil.Process(pid).children(recursive=True) if _is_worker(child)]
    return []


def _is_worker(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return any("spawn_main" in word for word in process.cmdline())
    return False


class Processes:
    """Context manager of a scheduler and `workers` single-threaded workers; kills all at the end of the block."""

    def __init__(self, workers):
        self.count, (self.port,) = workers, free_ports(1)
        self.address = f"tcp://{HOST}:{self.port}"
        self.scheduler = self.workers = None

    def __enter__(self):
        self.start()
        return self

    def start(self):
        """Starts the processes that are not running."""
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
