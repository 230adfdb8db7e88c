"""Runs the project's commands in their own processes, as a user would, without importing TensorFlow each time.

Each pytest process has one server process that imports TensorFlow once and runs no operation; every command is a fork
of that server. `run` waits until the command ends; `started` lets it run, so that a test can watch or kill it.
"""

import contextlib
import functools
import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from unittest import mock

ROOT = pathlib.Path(__file__).parents[2]
CONTEXT = multiprocessing.get_context("forkserver")


def run(*words, cwd=ROOT, env=None, timeout=120):
    """Runs a command and waits for its end.

    Args:
        words: the script ("train.py") or "-m" and a module ("-m", "data_prep"), then flags; paths are fine.
        cwd: the folder to run it in.
        env: environment variables to add or, where the value is None, to remove.
        timeout: seconds after which the command is killed and the test fails.

    Returns:
        subprocess.CompletedProcess with text in `stdout` and `stderr`.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = (pathlib.Path(folder, name) for name in ("out", "err"))
        with started(out, command, *map(str, words), cwd=cwd, env=env, errors=err) as process:
            process.join(timeout)
            if process.exitcode is None:
                raise subprocess.TimeoutExpired(words, timeout, out.read_text(), err.read_text())
        return subprocess.CompletedProcess(words, process.exitcode, out.read_text(), err.read_text())


@contextlib.contextmanager
def started(output, function, *arguments, cwd=ROOT, env=None, errors=None):
    """Context manager that starts a function in a fork and kills it at the end of the block if it still runs.

    Args:
        output: file that receives what the process prints.
        function: a function of a module that can be imported; it is called with the arguments.
        errors: file for stderr; None to write it to `output` too.
    """
    _start_server()
    process = CONTEXT.Process(target=_enter, args=(str(output), str(errors or output), str(cwd), env or {}, function,
                                                   *arguments))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def command(*words):
    """Runs a command in this process; for `started`. Ctrl-C works, even if the tests run in a shell's background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = list(words)
    if words[0] == "-m":
        sys.argv = list(words[1:])
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[0] = str(ROOT / words[0])
        runpy.run_path(sys.argv[0], run_name="__main__")


@functools.cache
def _start_server():
    """Starts the server; it needs PYTHONPATH to find its imports, because Python passes it no sys.path.

    Progress bars at a terminal show every step: tqdm reads its variable on import.
    """
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), *filter(None, [before])])
    with mock.patch.dict(os.environ, {"PYTHONPATH": path, "TQDM_MININTERVAL": "0"}):
        CONTEXT.set_forkserver_preload(["harness.commands_imports"])
        forkserver.ensure_running()


def _enter(output, errors, cwd, env, function, *arguments):
    for descriptor, path in ((1, output), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(descriptor), "w", buffering=1) for descriptor in (1, 2))
    for name, value in env.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = str(value)
    os.chdir(cwd)
    function(*arguments)
