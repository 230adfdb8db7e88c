"""Tests that any change to a shard is reported before reading: flipped bits, truncation, swapped records."""

import json
import pathlib
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from harness import ellipses
from harness.ellipses import tiny_config, write
from hypothesis import given, settings
from hypothesis import strategies as st

from kits_tf.errors import InputError
from kits_tf.records import dataset, integrity
from kits_tf.training.task import make_task

CONFIG = tiny_config()
STAGE = "coarse"


@pytest.fixture(scope="module")
def data():
    with tempfile.TemporaryDirectory() as folder:
        yield write(pathlib.Path(folder), CONFIG, stages=(STAGE,))


@pytest.fixture
def shard(data):
    """One shard, restored after the test."""
    path = dataset.shard_path(data, STAGE, "case_00002")
    whole = path.read_bytes()
    yield path
    path.unlink(missing_ok=True)
    path.write_bytes(whole)


def records_of(raw):
    """Returns the framed records of a shard: 8 bytes length, 4 bytes checksum, the data, 4 bytes checksum."""
    found = []
    while raw:
        size = 16 + int.from_bytes(raw[:8], "little")
        found.append(raw[:size])
        raw = raw[size:]
    return found


def damages(data):
    return integrity.damages(data, STAGE, dataset.read_manifest(data, STAGE)["cases"])


def test_whole_shards_have_no_damage(data):
    assert damages(data) == []
    integrity.verify(data, STAGE, dataset.read_manifest(data, STAGE)["cases"])


# First, changes that TFRecord's checksums miss: each of these reads without an error.
CHANGES = {
    "two records swapped": lambda raw: b"".join(np.array(records_of(raw), object)[[1, 0, 2, 3, 4, 5]]),
    "a record taken out": lambda raw: b"".join(records_of(raw)[:2] + records_of(raw)[3:]),
    "cut between records": lambda raw: b"".join(records_of(raw)[:-1]),
    "a record twice": lambda raw: b"".join([*records_of(raw), records_of(raw)[0]]),
    "emptied": lambda raw: b"",
    "one bit": lambda raw: raw[:700] + bytes([raw[700] ^ 4]) + raw[701:],
    "cut in a record": lambda raw: raw[:-5],
    "a byte more": lambda raw: raw + b"\0",
    "two bytes swapped": lambda raw: raw[:700] + raw[702:699:-1][1:] + raw[702:],
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_change_is_named_and_training_does_not_start(how, data, shard):
    raw = shard.read_bytes()
    changed = CHANGES[how](raw)
    assert changed != raw
    shard.write_bytes(changed)
    line, = damages(data)
    assert line.startswith(f"{shard}: is damaged")
    with pytest.raises(InputError) as caught:
        make_task(CONFIG, STAGE, data, 0, 0)
    assert str(caught.value).startswith(f"{shard}: is damaged")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("how", list(CHANGES)[:5])
def test_tfrecord_alone_reads_these_without_an_error(how, shard):
    shard.write_bytes(CHANGES[how](shard.read_bytes()))
    list(ellipses.read([shard], CONFIG.record_shape(STAGE)))


def test_a_shard_of_another_case_in_its_place_is_named(data, shard):
    shard.write_bytes(dataset.shard_path(data, STAGE, "case_00003").read_bytes())
    assert [line.split(":")[0] for line in damages(data)] == [str(shard)]


@settings(deadline=None, max_examples=80, derandomize=True)
@given(st.data())
def test_no_random_change_goes_unseen(draw):
    raw = draw.draw(st.binary(min_size=1, max_size=300))
    edit = draw.draw(st.sampled_from(["flip", "cut", "swap", "insert"]))
    at, other = sorted((draw.draw(st.integers(0, len(raw) - 1)), draw.draw(st.integers(0, len(raw) - 1))))
    changed = bytearray(raw)
    if edit == "flip":
        changed[at] ^= 1 << draw.draw(st.integers(0, 7))
    elif edit == "cut":
        del changed[at:other + 1]
    elif edit == "swap":
        changed[at], changed[other] = changed[other], changed[at]
    else:
        changed[at:at] = draw.draw(st.binary(min_size=1, max_size=9))
    with tempfile.TemporaryDirectory() as folder:
        path = dataset.shard_path(folder, STAGE, "a")
        path.parent.mkdir(parents=True)
        path.write_bytes(raw)
        entries = {"a": {"records": 1, "shard": integrity.file_facts(path)}}
        assert integrity.damages(folder, STAGE, entries) == []
        path.write_bytes(changed)
        assert bool(integrity.damages(folder, STAGE, entries)) == (bytes(changed) != raw)


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda path: path.unlink(), "is missing"),
    (lambda path: (path.unlink(), path.mkdir(), path.rmdir()), "is missing"),
    (lambda path: (path.unlink(), path.symlink_to(path)), "is missing"),
])
def test_a_shard_that_is_not_there_is_named(spoil, said, data, shard):
    spoil(shard)
    assert damages(data) == [f"{shard}: {said}"]
    with pytest.raises(InputError, match=said):
        make_task(CONFIG, STAGE, data, 0, 0)


def test_all_damaged_shards_are_counted_and_only_the_first_is_described(data, shard):
    second = dataset.shard_path(data, STAGE, "case_00004")
    whole = second.read_bytes()
    shard.write_bytes(b"a")
    second.write_bytes(b"b")
    try:
        assert [line.split(":")[0] for line in damages(data)] == [str(shard), str(second)]
        with pytest.raises(InputError, match=r"case_00002.* and 1 more; .*--check"):
            integrity.verify(data, STAGE, ["case_00001", "case_00002", "case_00004"])
        integrity.verify(data, STAGE, ["case_00001", "case_00003"])  # damage in other cases is ignored
    finally:
        second.write_bytes(whole)


def test_a_manifest_without_checksums_does_not_pass_for_whole(data):
    assert integrity.damages(data, STAGE, {"case_00001": {"records": 6}}) == [
        f"{dataset.shard_path(data, STAGE, 'case_00001')}: has no checksum in its manifest"]


@pytest.mark.parametrize("name", ["../../../away", "/etc/away", "..", ".", "", "a/b", "a\\b", "line\nbreak", "\x1b[2J",
                                  "\udcff", "x" * 201])
def test_a_case_name_never_leads_out_of_the_folder(name, tmp_path):
    with pytest.raises(InputError, match="expected a plain file name") as caught:
        dataset.shard_path(tmp_path, STAGE, name)
    assert str(caught.value).isprintable()
    path = dataset.manifest_path(tmp_path, STAGE)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"settings": {}, "cases": {name: {"records": 1}}}))
    with pytest.raises(InputError, match="expected a plain file name"):
        dataset.read_manifest(tmp_path, STAGE)


@pytest.mark.parametrize("name", ["case_00001", "Müller, Hans", "腎臓 1", "a.b", "..a", "x" * 200])
def test_a_case_name_of_any_script_is_welcome(name, tmp_path):
    assert dataset.shard_path(tmp_path, STAGE, name).parent == tmp_path / "records" / STAGE


@pytest.mark.parametrize(("folds", "said"), [
    ([["case_00000"], ["case_00001"], ["case_00002"], ["case_00003"], []], "case_00004 is in no fold"),
    ([["case_00000"], ["case_00001"], ["case_00002"], ["case_00003", "case_00004"], ["case_00000"]],
     "has case_00000 in two folds")])
def test_folds_that_would_train_on_a_validation_case_are_refused(folds, said, data):
    path = dataset.folds_path(data)
    whole = path.read_text()
    path.write_text(json.dumps({"folds": folds}))
    try:
        with pytest.raises(InputError, match=said):
            dataset.split(data, STAGE, 0, CONFIG)
    finally:
        path.write_text(whole)


def test_a_shard_damaged_while_it_is_read_is_found_by_its_own_checksums(data, shard):
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(bytes(raw))
    with pytest.raises(tf.errors.DataLossError):
        list(ellipses.read([shard], CONFIG.record_shape(STAGE)))
