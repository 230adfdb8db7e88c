"""Where the work on cases is done, and the flags for it of every command that maps over cases."""

import dataclasses
import pathlib
import re

from absl import flags

from kits_tf.errors import InputError

ADDRESS = re.compile(r"(?:(?:tcp|tls|ucx|ws|wss)://)?[^/]+:\d+")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the work is done: in local processes, on a dask cluster, or by default in this process.

    Attributes:
        workers: number of local processes; 0 for none.
        scheduler: address of a running dask scheduler; empty for none.

    Raises:
        InputError: if `workers` is negative, both are given, or `scheduler` is no address.
    """

    workers: int = 0
    scheduler: str = ""

    def __post_init__(self):
        if self.workers < 0:
            raise InputError(f"--workers={self.workers}: expected 1 or more, or 0 to work in this process")
        if self.workers and self.scheduler:
            raise InputError(f"--workers={self.workers} and --scheduler={self.scheduler}: expected only one of the "
                             f"two, local processes or a cluster")
        if self.scheduler and not ADDRESS.fullmatch(self.scheduler):  # dask would end with a stack trace
            raise InputError(f"--scheduler={self.scheduler}: expected an address such as tcp://HOST:8786")

    def path(self, path: str | pathlib.Path) -> pathlib.Path:
        """Returns a path for the workers: absolute for a cluster, whose workers may run in another folder."""
        return pathlib.Path(path).absolute() if self.scheduler else pathlib.Path(path)


HERE = Place()


FLAGS = {"Where to work": ("workers", "scheduler")}  # for --help


def define_flags() -> None:
    """Defines the flags --workers and --scheduler."""
    flags.DEFINE_integer("workers", 0, "number of processes on this machine that share the cases; 0: this process only")
    flags.DEFINE_string("scheduler", "", "tcp://HOST:PORT of a running dask scheduler whose workers share the cases")


def place_from_flags() -> Place:
    """Returns the Place that the flags give. Raises InputError if they contradict each other."""
    return Place(flags.FLAGS.workers, flags.FLAGS.scheduler)
