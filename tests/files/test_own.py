"""Tests that files of the user are never written over, and that our own are known."""

import os
import subprocess

import pytest

from kits_tf.errors import InputError, RunError
from kits_tf.files import own
from kits_tf.files.atomic import write_text


def write(folder, text="ours", overwrite=False):
    with own.staged(folder, overwrite) as staging:
        write_text(staging / "a.txt", text)


def test_our_own_files_are_written_over_and_listed_as_sha256sum_does(tmp_path):
    write(tmp_path / "out")
    write(tmp_path / "out", "ours too")
    assert (tmp_path / "out" / "a.txt").read_text() == "ours too"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.txt", own.LIST}
    last = (tmp_path / "out" / own.LIST).read_text().splitlines()[-1]
    checked = subprocess.run(["sha256sum", "-c"], input=last, cwd=tmp_path / "out", capture_output=True, text=True)
    assert checked.stdout == "a.txt: OK\n"


@pytest.mark.parametrize("kind", ["another's", "changed", "copied in", "link", "broken link", "link to a folder"])
def test_what_is_not_ours_is_kept_without_overwrite(kind, tmp_path):
    path, other = tmp_path / "out" / "a.txt", tmp_path / "other.txt"
    write(tmp_path / "out", "ours, once")
    path.unlink()
    other.write_text("precious")
    if kind == "link to a folder":
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "a.txt").write_text("precious")
        (tmp_path / "out" / own.LIST).unlink()
        (tmp_path / "out").rmdir()
        (tmp_path / "out").symlink_to("real")
    elif kind == "changed":
        write(tmp_path / "out")
        path.write_text("precious")
    elif "link" in kind:
        path.symlink_to("../other.txt" if kind == "link" else "gone")
    else:
        path.write_text("precious")
    assert not own.is_own(path)
    with pytest.raises(InputError, match=r"a\.txt: was not written by this program or was changed since, and is kept"):
        write(tmp_path / "out")
    assert path.is_symlink() if "broken" in kind else path.read_text() == "precious"
    write(tmp_path / "out", overwrite=True)
    assert path.read_text() == "ours" and own.is_own(path)
    assert other.read_text() == "precious"  # a link is replaced, not what it leads to


@pytest.mark.parametrize("moved", [False, True])
def test_a_run_that_is_killed_while_it_moves_a_file_knows_what_it_wrote(moved, tmp_path, monkeypatch):
    write(tmp_path)
    replace = os.replace

    def killed(source, target):
        if target != tmp_path / "a.txt":
            return replace(source, target)
        if moved:
            replace(source, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, "next")
    assert (tmp_path / "a.txt").read_text() == ("next" if moved else "ours")
    write(tmp_path, "last")


def test_all_files_of_a_block_appear_or_none(tmp_path):
    def both(failing):
        with own.staged(tmp_path) as staging:
            write_text(staging / "a.txt", "ours")
            if failing:
                raise KeyError
            write_text(staging / "b.txt", "ours")

    (tmp_path / "b.txt").write_text("the user's")
    with pytest.raises(KeyError):
        both(failing=True)
    with pytest.raises(InputError, match=r"b\.txt"):
        both(failing=False)
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


def test_a_folder_at_the_path_of_a_file_is_kept_and_reported_even_with_overwrite(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(InputError, match=r"a\.txt: is a folder"):
        write(tmp_path, overwrite=True)
    assert (tmp_path / "a.txt").is_dir()


def test_an_output_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file/out: cannot be written \(Not a directory\)"):
        write(tmp_path / "file" / "out")
