"""Runs a command's main function again and again and kills it at random moments; what it left must be whole each time.

    python tests/killed.py predict|prepare INPUT OUTPUT QUIET KILLS SEED [MODEL]

TensorFlow is imported once and each run is a fork, so that a hundred kills take minutes and not an hour. After each,
all files in OUTPUT must be the bytes of those in QUIET, where a run in peace left them, or temporaries. After a run
that comes to its end the next starts from nothing. Prints a JSON line: kills, runs that ended in peace, how long one
takes, how many files one leaves and how many runs were killed half-way.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import sys
import time

import tensorflow as tf  # noqa: F401  here, once; nothing of it may run before the fork

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import predict
from data_prep import examples, preparation  # noqa: F401
from kits_tf import serving  # noqa: F401
from kits_tf.config import PRESETS, STAGES
from kits_tf.files.atomic import TEMPORARY
from kits_tf.reporting import predictions  # noqa: F401

PASSING = ("summary.csv", ".lock")  # of a run and not of its cases


def main(what, scans, output, quiet, kills, seed, model=None):
    output, quiet, chance = pathlib.Path(output), pathlib.Path(quiet), random.Random(int(seed))

    def work(folder):
        if what == "predict":
            return predict.predict(model, scans, folder)
        return preparation.prepare_study(scans, folder, STAGES, PRESETS["demo"], 0)

    began = time.monotonic()
    assert run(lambda: work(quiet)) == 0
    seconds = time.monotonic() - began
    expected = files(quiet)
    assert len(expected) > 3
    killed, ended, found = 0, 0, []
    while killed < int(kills):
        status = run(lambda: work(output), after=chance.uniform(0, 1.1 * seconds))
        assert status in (0, -signal.SIGKILL), status
        there = files(output)
        for name, raw in there.items():
            assert raw == expected[name], f"{name} is not as a run in peace left it"
        killed += status != 0
        found.append(len(there))
        if status == 0:
            ended += 1
            assert there.keys() == expected.keys()
            assert not [path for path in output.rglob(f"{TEMPORARY}*")]
            shutil.rmtree(output)
    assert run(lambda: work(output)) == 0
    assert files(output) == expected
    assert not [path for path in output.rglob("*") if path.name.startswith(".")]
    print(json.dumps({"kills": killed, "ended": ended, "seconds": round(seconds, 1), "files": len(expected),
                      "partly done": sum(0 < count < len(expected) for count in found)}))


def run(function, after=None):
    """The exit status of a function in a fork, killed after some seconds; minus the signal if that ended it."""
    pid = os.fork()
    if not pid:
        status = 3
        try:
            status = function()
        finally:
            os._exit(status)
    deadline = None if after is None else time.monotonic() + after
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if deadline and time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline = None
        time.sleep(0.002)


def files(folder):
    """What a run is asked for, by path; JSON that a run updates must at least be JSON."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name == "manifest.json" or path.parent.name == ".done":
            if not path.name.startswith(TEMPORARY):
                json.loads(path.read_text())
        elif path.name not in PASSING and not path.name.startswith(TEMPORARY):
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
