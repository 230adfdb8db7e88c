"""Tests what pyproject.toml installs: the packages and the commands. `.ci/installed` builds the wheel and runs it."""

import importlib.util
import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_only_the_two_packages_are_installed():
    setuptools = PROJECT["tool"]["setuptools"]
    assert setuptools["packages"]["find"]["include"] == ["kits_tf*", "data_prep*"]
    assert "py-modules" not in setuptools


@pytest.mark.parametrize("entry", PROJECT["project"]["scripts"].values())
def test_an_installed_command_is_a_function_of_a_package(entry):
    module, function = entry.split(":")
    assert module.split(".")[0] in ("kits_tf", "data_prep")
    assert f"\ndef {function}() -> None:\n" in pathlib.Path(importlib.util.find_spec(module).origin).read_text()


@pytest.mark.parametrize("script", ["train.py", "predict.py"])
def test_a_root_script_only_starts_the_command(script):
    code = (ROOT / script).read_text(encoding="utf-8").split('"""')[2]
    assert len(code.split("\n")) <= 8


def test_the_dockerfile_copies_what_is_there_and_installs_extras_that_exist():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    context = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in copied:
        assert (ROOT / name).exists() and f"!{name}" in context
    needed = {"pyproject.toml", "kits_tf", "data_prep", PROJECT["project"]["readme"],
              *PROJECT["project"]["license-files"], *PROJECT["tool"]["setuptools"]["dynamic"]["dependencies"]["file"]}
    assert needed <= set(copied)
    asked = {extra for line in lines for group in re.findall(r"\[([a-z,]+)\]", line) for extra in group.split(",")}
    assert asked == set(PROJECT["project"]["optional-dependencies"]) == {"gdcm", "gpu", "itk", "web"}


def test_the_tests_install_the_extras_that_they_need():
    needed = {line.partition("  #")[0] for line in (ROOT / "requirements-test.txt").read_text().splitlines()}
    assert set(PROJECT["project"]["optional-dependencies"]["web"]) <= needed
