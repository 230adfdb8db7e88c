"""Runs a command's main function repeatedly, kills it at random moments, and checks that all files are complete.

It runs in a fork of the server of harness/commands.py, and each run is a fork of that process, so that a hundred kills
take minutes, not an hour. `predict_and_prepare` runs commands on full disks instead.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import time

from data_prep import preparation
from harness import disks
from kits_tf.config import PRESETS, STAGES
from kits_tf.errors import InputError
from kits_tf.files.atomic import TEMPORARY
from kits_tf.files.own import LIST
from kits_tf.serving.__main__ import predict

PASSING = ("summary.csv", ".kits_tf.lock", LIST)  # files of a run, not of its cases


def main(what, scans, output, quiet, kills, seed, model):
    """Runs a command until it has been killed `kills` times.

    An undisturbed run first writes its files to `quiet`. After each kill, every file in `output` must be temporary or
    equal to the file in `quiet`. After a completed run, `output` is emptied. Prints a JSON line: number of kills and of
    completed runs, seconds and files of an undisturbed run, and number of runs with only part of the files.

    Args:
        what: "predict" or "prepare".
        scans: the study.
        output: folder of the runs that are killed.
        quiet: folder of the undisturbed run.
        kills: number of kills.
        seed: seed of the random moments.
        model: folder of an export, for "predict".
    """
    output, quiet, chance = pathlib.Path(output), pathlib.Path(quiet), random.Random(int(seed))

    def work(folder):
        if what == "predict":
            return predict(model, scans, folder)
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
    assert not [path for path in output.rglob("*") if path.name.startswith(".") and path.name != LIST]
    print(json.dumps({"kills": killed, "ended": ended, "seconds": round(seconds, 1), "files": len(expected),
                      "partly done": sum(0 < count < len(expected) for count in found)}))


def run(function, after=None):
    """Runs a function in a fork, killed after `after` seconds; returns its exit status, negative for a signal."""
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
    """Returns the output files of a run, path to bytes; files that a run updates are only checked to be valid JSON."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name == "manifest.json" or path.parent.name == ".done":
            if not path.name.startswith(TEMPORARY):
                json.loads(path.read_text())
        elif path.name not in PASSING and not any(part.startswith(TEMPORARY) for part in path.parts):
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def predict_and_prepare(folder, model, study):
    """Fills a disk with predictions and one with records; prints a JSON line on what each then holds."""
    small, large, roomy = (pathlib.Path(folder, name) for name in ("24 kB", "600 kB", "roomy"))
    disks.mount(**{str(small): "24k", str(large): "600k"})
    for name, disk, work in (
            ("predicted", small, lambda out: predict(model, study, out, overlay=False)),
            ("prepared", large, lambda out: preparation.prepare_study(study, out, STAGES, PRESETS["demo"], 0))):
        assert work(roomy / name) == 0
        try:
            said = work(disk / name)
        except InputError as error:
            said = str(error)
        whole, there = files(roomy / name), files(disk / name)
        print(json.dumps({
            "disk": disk.is_mount(), "said": said, "there": sorted(there),
            "whole": sorted(name for name, raw in there.items() if raw == whole[name]),
            "hidden": [path.name for path in disk.rglob("*")
                       if path.name.startswith(".") and path.name not in (".done", LIST)]}))
