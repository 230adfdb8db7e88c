"""Tests commands where a stream, a home, a temporary folder or the processor's AVX is missing."""

import os
import pathlib
import subprocess
import sys

import pytest

from kits_tf import environment, lazy
from kits_tf.errors import RunError

ROOT = pathlib.Path(environment.__file__).parents[1]
PRINTS = '''"""Prints."""
import os, sys
from kits_tf import command
def main():
    assert os.open(os.devnull, os.O_RDONLY) > 2  # no later file gets the number of a closed stream
    print("größe " * 9999)
    print("größe", file=sys.stderr)
    sys.stdout.flush()
    open("done", "w").close()
if __name__ == "__main__":
    command.run(main, {}, "")
'''


@pytest.mark.parametrize("line", ["{} | true; exit ${{PIPESTATUS[0]}}", "{} >&-", "{} 2>&-", "{} <&- >&- 2>&-",
                                  "{} > /dev/full", "PYTHONIOENCODING=ascii {} >/dev/null 2>&1"])
def test_printing_never_fails_a_command(line, tmp_path):
    (tmp_path / "prints.py").write_text(PRINTS, encoding="utf-8")
    done = subprocess.run(["bash", "-c", line.format(f"'{sys.executable}' prints.py")], cwd=tmp_path, text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0"})
    assert (done.returncode, (tmp_path / "done").exists()) == (0, True), done.stderr
    assert "Error" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize(("fault", "said"), [
    ("raise KeyError('no\\nkidney')", "KeyError: 'no\\nkidney' (in {}/fails.py, line 4); this is a fault"),
    ("open('nowhere/x')", "nowhere/x: No such file or directory; fix this, then rerun the command")])
def test_no_error_is_a_stack_trace(fault, said, tmp_path):
    (tmp_path / "fails.py").write_text(f'"""Fails."""\nfrom kits_tf import command\ndef main():\n    {fault}\n'
                                       f'command.run(main, {{}}, "")\n')
    done = subprocess.run([sys.executable, "fails.py"], cwd=tmp_path, text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert said.replace("\n", "\\n").format(tmp_path) in done.stderr


def contained(*command, tmp_path, setup="", **env):
    """Runs a command as an unknown user without a home, who may write to tmp_path / "out" alone."""
    (tmp_path / "out").mkdir(exist_ok=True)
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
              f'mount --rbind / /mnt && mount -o remount,ro,bind /mnt && {setup} mount --bind "{tmp_path}/out" '
              f'"/mnt{tmp_path}/out" && exec chroot /mnt env -i -C "{ROOT}" "$@"', "sh"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a folder")
    return subprocess.run([*inside, *(f"{name}={value}" for name, value in env.items()), *command],
                          capture_output=True, text=True, check=False)


def test_without_a_folder_for_temporary_files_the_variable_is_named(tmp_path):
    done = contained(sys.executable, "-m", "kits_tf.phantoms", f"--output={tmp_path / 'out'}", tmp_path=tmp_path,
                     setup=" ".join(f"mount -o remount,ro,bind /mnt{path} 2>/dev/null;" for path in (
                         "/tmp", "/var/tmp", "/dev/shm")))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "set TMPDIR" in done.stderr


def test_an_unknown_user_without_a_home_gets_one_for_the_run(tmp_path):
    program = ("import os, pathlib; from kits_tf import environment; environment.check_folders();"
               "import bokeh.settings, matplotlib.figure; print(pathlib.Path.home())")
    done = subprocess.run(["unshare", "--user", "--map-user=12345", "--map-group=12345", sys.executable, "-c", program],
                          env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip("this system lets nobody become another user")
    assert (done.returncode, done.stderr) == (0, "")
    assert not pathlib.Path(done.stdout.strip()).exists()  # removed at the end


@pytest.mark.parametrize(("flags", "fails"), [("fpu sse4_2 avx avx2", False), ("fpu sse4_2 avxx", True), (None, False)])
def test_a_processor_without_avx_is_reported_before_tensorflow_is_imported(flags, fails, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n" if flags else "Features : asimd\n")
    (tmp_path / "not_yet_imported.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(environment.platform, "machine", lambda: "x86_64")
    if fails:
        with pytest.raises(RunError, match="has no AVX"):
            lazy.load("not_yet_imported")
        monkeypatch.delitem(sys.modules, "not_yet_imported", raising=False)
    else:
        lazy.load("not_yet_imported")
        del sys.modules["not_yet_imported"]
