"""Runs the Makefile's targets with paths that hold blanks; a program in place of Python records its arguments."""

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]
NOTES = """#!/bin/sh
printf '%s\\n' "$0" "$@" >> words.txt
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder "a checkout" with the Makefile and an environment "my env" that counts as installed."""
    root = tmp_path / "a checkout"
    python = root / "my env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "requirements-test.txt"):
        shutil.copy(ROOT / name, root)
    python.write_text(NOTES)
    python.chmod(0o755)
    (root / "my env" / ".installed").touch()
    return root


def make(root, *words):
    return subprocess.run(["make", "VENV=my env", "DEMO=my demo/run", "RELEASE=my demo/run",
                           f"PYTHON={root}/my env/bin/python", *words],
                          cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("target", "wanted"), [
    ("notebook", "execute"), ("lint", "mypy"), ("docs", "pdoc"), ("bench", "benchmarks"), ("soak", "pytest"),
    ("demo", "--run_dir=my demo/run"), ("demo", "--output=my demo/run/scores"),
    ("release", "--run_dir=my demo/run"), ("release", "--model=my demo/run/export"), ("test", "--dist=loadfile")])
def test_a_target_takes_paths_with_blanks(target, wanted, checkout):
    done = make(checkout, target)
    assert done.returncode == 0, done.stderr
    words = (checkout / "words.txt").read_text().splitlines()
    assert wanted in words
    assert not {"my", "env/bin/python", "demo/run"} & set(words)


def test_the_environment_is_made_once_where_its_path_holds_a_blank(checkout):
    (checkout / "my env" / ".installed").unlink()
    assert make(checkout, "venv").returncode == 0
    assert (checkout / "my env" / ".installed").exists()
    assert "my env" in (checkout / "words.txt").read_text().splitlines()
    (checkout / "words.txt").unlink()
    assert make(checkout, "venv").returncode == 0
    assert not (checkout / "words.txt").exists()


def test_clean_removes_what_it_names_and_nothing_else(checkout):
    for name in ("my", "demo/run", "env", "my demo/run", "my demo/other"):
        (checkout / name).mkdir(parents=True)
    assert make(checkout, "clean").returncode == 0
    assert {path.relative_to(checkout).as_posix() for path in checkout.rglob("*") if path.is_dir()} == {
        "my", "demo", "demo/run", "env", "my demo", "my demo/other"}
