"""Tests that files are complete or absent."""

import os
import stat

import pytest

from kits_tf.files.atomic import whole_file, write_text


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "deep" / "labels.nii.gz"
    with whole_file(target) as temporary:
        temporary.write_bytes(b"some")
        assert not target.exists()
        assert temporary.parent == target.parent  # same file system, so that renaming is atomic
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(".nii.gz")
    assert target.read_bytes() == b"some"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interruption_leaves_nothing(error, tmp_path):
    def interrupted():
        with whole_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_permissions_are_those_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.json", "{}")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640


def test_the_umask_is_not_touched_while_other_threads_may_write(tmp_path, monkeypatch):
    def changed(mask):
        raise AssertionError("umask is one for all threads")

    monkeypatch.setattr(os, "umask", changed)
    write_text(tmp_path / "a.json", "{}")


def test_text_is_replaced_whole_and_in_utf8(tmp_path):
    write_text(tmp_path / "a.txt", "a long first text\n")
    write_text(tmp_path / "a.txt", "Größe\n")
    assert (tmp_path / "a.txt").read_bytes() == "Größe\n".encode()
