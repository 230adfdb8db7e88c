"""Tests the features that all commands share: help, flags, positional words, Ctrl-C."""

import ast
import importlib.metadata
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from kits_tf import cluster, quiet

ROOT = pathlib.Path(__file__).parents[1]
COMMANDS = {name: [str(ROOT / name)] for name in ("train.py", "predict.py")} | {name: ["-m", name] for name in (
    "data_prep", "kits_tf.phantoms", "kits_tf.inputs", "kits_tf.cascade", "kits_tf.evaluation",
    "kits_tf.evaluation.submission", "kits_tf.web")}


def run(*arguments, python=()):
    return subprocess.run([sys.executable, *python, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60)


def source(name):
    module = {"train.py": "kits_tf.training", "predict.py": "kits_tf.serving"}.get(name, name)
    return (ROOT / module.replace(".", "/") / "__main__.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_the_docstring_and_every_flag_and_imports_nothing_that_takes_long(name):
    done = run(*COMMANDS[name], "--help", python=("-X", "importtime"))
    assert done.returncode == 0
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "absl" in imported
    assert imported.isdisjoint({"tensorflow", "nibabel", "scipy", "matplotlib", "pydicom", "distributed"})
    text = source(name)
    assert done.stdout.startswith(text.split('"""')[1].splitlines()[0])
    defined = re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', text)
    assert len(defined) > 3
    missing = [flag for flag in [*defined, "quiet", "verbose", "flagfile"]
               if not re.search(rf"--(\[no\])?{flag}\b", done.stdout)]
    assert missing == []
    if "cluster.define_flags" in text:
        assert "--workers=" in done.stdout
    if "command_line.define_flags" in text:
        assert "--preset=" in done.stdout and "--set=" in done.stdout
    assert "no help available" not in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_version_is_that_of_the_citation_and_of_the_installed_tensorflow(name):
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    done = run(*COMMANDS[name], "--version")
    assert (done.returncode, done.stdout) == (
        0, f"kits_tf {cited}, TensorFlow {importlib.metadata.version('tensorflow')}\n")


@pytest.mark.parametrize(("arguments", "said"), [
    (["--outptu=x"], "Unknown command line flag 'outptu'. Did you mean: output"),
    (["--stage=kidney"], "coarse|correction|fine|tumor3d|tumor2d"),
    (["study"], "study: unexpected argument; flags are written --name=value"),
    (["--quiet", "--verbose"], "At most one of (quiet, verbose)")])
def test_a_mistake_in_the_flags_is_one_line_and_status_1(arguments, said):
    done = run("-m", "data_prep", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("command", "flag", "said"), [
    (["-m", "data_prep"], "--set=fine.crop=128", "--set=fine.crop: no such setting; did you mean fine.crop_voxels?"),
    (["train.py"], "--set=fine.training.epochs=many", "--set=fine.training.epochs=many: expected a whole number"),
    (["train.py"], "--epochs=0", "coarse.training.epochs must be above zero, got 0"),
    (["-m", "kits_tf.inputs"], "--set=fine.crop_voxels=100",
     "fine.crop_voxels must be a multiple of 16 for a net of 5 levels, got 100")])
def test_a_mistake_in_a_setting_is_one_line_and_status_1(command, flag, said):
    done = run(*command, flag)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said + "\n")


def test_help_settings_lists_values_and_meanings_and_set_wins_over_flags_for_all_stages():
    done = run("train.py", "--help_settings", "--preset=demo", "--set=fine.training.epochs=3", "--epochs=7")
    assert done.returncode == 0
    assert re.search(r"^fine\.training\.epochs=3  +number of epochs", done.stdout, re.MULTILINE)
    assert re.search(r"^coarse\.training\.epochs=7 ", done.stdout, re.MULTILINE)
    assert re.search(r"^coarse\.training\.batch_size=16 ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])  # the latter two as Windows writes them
def test_flags_can_come_from_a_file(encoding, tmp_path):
    (tmp_path / "more.txt").write_text("# where to\r\n\r\n--output=" + f"{tmp_path}/data\r\n", encoding=encoding)
    (tmp_path / "flags.txt").write_text(f"--flagfile={tmp_path}/more.txt\n  --input={tmp_path}/ö\n", encoding=encoding)
    for given in ([f"--flagfile={tmp_path}/flags.txt"], ["--flagfile", f"{tmp_path}/flags.txt"]):
        done = run("-m", "data_prep", *given)
        assert done.returncode == 1
        assert done.stderr.startswith(f"{tmp_path}/ö: no such file or folder")


@pytest.mark.parametrize(("raw", "said"), [
    (None, "cannot be read (No such file or directory)"), (b"--output=\xff", "is no text in UTF-8, save it so"),
    (b"--flagfile=FLAGS", "names itself")])
def test_a_file_of_flags_that_cannot_be_read_is_one_line(raw, said, tmp_path):
    path = tmp_path / "flags.txt"
    if raw:
        path.write_bytes(raw.replace(b"FLAGS", bytes(path)))
    done = run("-m", "data_prep", f"--flagfile={path}")
    assert (done.returncode, done.stderr) == (1, f"--flagfile={path}: {said} (--help lists the flags)\n")


def test_a_path_may_begin_with_the_home_folders_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    done = run("-m", "data_prep", "--input=~/none", "--output=~/data")
    assert done.stderr.startswith(f"{tmp_path}/none: no such file or folder")


def test_an_empty_path_does_not_mean_the_current_folder():
    """As from --output=$OUT in a shell that has no such variable."""
    done = run("-m", "data_prep", "--input=study", "--output=")
    assert (done.returncode, done.stderr) == (1, "--output=: is empty; give a value, or leave the flag out (was a "
                                                 "variable not set?)\n")


def test_a_tilde_without_a_known_home_makes_no_folder_of_that_name():
    done = run("-m", "data_prep", "--input=.", "--output=~nobody-at-all/data")
    assert done.returncode == 1 and done.stderr.startswith(
        "--output=~nobody-at-all/data: the home folder of ~nobody-at-all is not known; set HOME")
    assert not (ROOT / "~nobody-at-all").exists()


def test_a_line_break_in_a_path_does_not_break_the_message(tmp_path):
    done = run("-m", "data_prep", f"--input={tmp_path}/a\nb\x07", "--output=x")
    assert done.stderr == f"{tmp_path}/a\\nb\\x07: no such file or folder\n"


def test_too_little_memory_is_no_fault_of_the_program(tmp_path):
    done = run("-m", "kits_tf.phantoms", f"--output={tmp_path}", "--cases=1", "--size=90000000", "--slice_mm=20")
    assert done.returncode == 1 and done.stderr.startswith("the memory does not suffice: Unable to allocate")


def test_a_mistake_shows_where_it_arose_only_if_asked():
    arguments = ["-m", "data_prep", "--input=/nowhere", "--output=/nowhere"]
    assert "Traceback" not in run(*arguments).stderr
    assert "Traceback" in run(*arguments, "--verbose").stderr


@pytest.mark.parametrize(("level", "said", "bar"), [(-1, "", True), (0, "a line\n", None), (1, "a line\n", None)])
def test_messages_and_bars_depend_on_the_level(level, said, bar, capsys):
    quiet.set_level(level)
    try:
        quiet.say("a line")
        assert capsys.readouterr().err == said
        assert quiet.no_bar() is bar
    finally:
        quiet.set_level(0)


def test_where_no_terminal_watches_a_line_says_how_far_a_long_step_has_come(capsys, monkeypatch):
    jobs = [cluster.Job(str(number), {"name": str(number)}) for number in range(3)]
    assert len(list(cluster.run(nothing, jobs, "doing", cluster.HERE))) == 3
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(quiet, "SECONDS_BETWEEN", 0.0)
    list(cluster.run(nothing, jobs, "doing", cluster.HERE))
    assert capsys.readouterr().err == "doing cases: 1 of 3\ndoing cases: 2 of 3\n"


def nothing(name):
    return {"name": name}


def test_every_bar_is_drawn_by_no_bar():
    bars = [(path, node) for path in [*ROOT.glob("kits_tf/**/*.py"), *ROOT.glob("data_prep/*.py")]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "tqdm.tqdm"]
    assert len(bars) > 3
    other = [f"{path}:{bar.lineno}" for path, bar in bars
             if [ast.unparse(word.value) for word in bar.keywords if word.arg == "disable"] != ["no_bar()"]]
    assert other == []


BUSY = '''"""Computes for minutes in one call."""
import hashlib, time
from kits_tf import command
def main():
    print("begun", flush=True)
    {work}
if __name__ == "__main__":
    command.run(main, {{}}, "rerun the command to continue")
'''


@pytest.mark.parametrize("work", ["time.sleep(600)", 'hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)'],
                         ids=["in Python", "in a call that hears no signal"])
def test_ctrl_c_ends_what_takes_minutes(work, tmp_path):
    (tmp_path / "busy.py").write_text(BUSY.format(work=work))
    # A shell starts background jobs, possibly including these tests, with SIGINT ignored.
    process = subprocess.Popen([sys.executable, tmp_path / "busy.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env={"PYTHONPATH": str(ROOT)},
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "stopped; rerun the command to continue\n"
