"""Tests late imports: names resolve on first use, and slow modules are not imported earlier."""

import pathlib
import subprocess
import sys

import pytest

from kits_tf import lazy

ROOT = pathlib.Path(__file__).parents[1]
SLOW = ("tensorflow", "keras", "dask", "distributed", "matplotlib")


def imported(program):
    """Returns the modules of SLOW that a short program has imported at its end, in its own process."""
    program += f"\nprint('imported', *(name for name in {SLOW} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("command", [
    "train.py", "predict.py", "data_prep", "kits_tf.phantoms", "kits_tf.inputs", "kits_tf.cascade",
    "kits_tf.evaluation", "kits_tf.evaluation.submission"])
def test_help_imports_nothing_slow(command):
    start = "run_path" if command.endswith(".py") else "run_module"
    assert imported(f"import contextlib, runpy, sys\nsys.argv = [{command!r}, '--help']\n"
                    f"with contextlib.suppress(SystemExit):\n    runpy.{start}({command!r}, run_name='__main__')") == []


def test_functions_that_travel_to_workers_bring_no_tensorflow():
    assert "tensorflow" not in imported("import pickle, sys\n"
                                        "from data_prep.shards import prepare_case\n"
                                        "from kits_tf.evaluation.evaluator import score_files\n"
                                        "from kits_tf.reporting.predictions import predict_case\n"
                                        "for function in (prepare_case, score_files, predict_case):\n"
                                        "    assert pickle.loads(pickle.dumps(function)) is function")


def test_an_attached_name_is_imported_when_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "late_module.py").write_text("VALUE = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    get = lazy.attach("package", VALUE="late_module")
    assert "late_module" not in sys.modules
    assert get("VALUE") == 3
    assert "late_module" in sys.modules


def test_a_name_that_is_not_attached_is_missing_as_elsewhere():
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'OTHER'"):
        lazy.attach("package", VALUE="late_module")("OTHER")
