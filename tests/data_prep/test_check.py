"""Tests python -m data_prep --check: reports damaged, missing, stale and orphaned shards, and changes no file."""

import dataclasses
import json
import shutil

import pytest
from harness.prepared import CONFIG, noisy_scan, prepared_pair, two_kidneys, write_case

from data_prep.check import DAMAGED, WHOLE, check_data, problems
from kits_tf.errors import InputError
from kits_tf.records import dataset

STAGES = ("coarse", "tumor3d")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return prepared_pair(tmp_path_factory.mktemp("template"), STAGES)


@pytest.fixture
def folder(template, tmp_path):
    return shutil.copytree(template, tmp_path / "copy")


def _edit(path, change):
    known = json.loads(path.read_text())
    change(known)
    path.write_text(json.dumps(known))


def _flip(data):
    path = dataset.shard_path(data, "coarse", "case_00001")
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 128
    path.write_bytes(raw)


SPOILT = {
    "damaged": (_flip, ["coarse/case_00001.tfrecord: is damaged, its checksum differs from the one in the manifest"]),
    "missing": (lambda data: dataset.shard_path(data, "tumor3d", "case_00000").unlink(),
                ["tumor3d/case_00000.tfrecord: is missing"]),
    "orphan": (lambda data: dataset.shard_path(data, "coarse", "case_00009").write_bytes(b""),
               ["coarse/case_00009.tfrecord: is in no manifest (an orphan)"]),
    "left over": (lambda data: (data / "records" / "coarse" / ".a1b2.tfrecord").write_bytes(b"half"),
                  ["coarse/.a1b2.tfrecord: is in no manifest (left by an interrupted run)"]),
    "strange stage": (lambda data: (data / "records" / "finest").mkdir(),
                      ["records/finest: no stage has this name (an orphan)"]),
    "no manifest": (lambda data: dataset.manifest_path(data, "coarse").unlink(),
                    ["coarse/manifest.json: is missing", "case_00000.tfrecord: is in no manifest",
                     "case_00001.tfrecord: is in no manifest"]),
    "torn manifest": (lambda data: dataset.manifest_path(data, "coarse").write_text('{"settings"'),
                      ["coarse/manifest.json: cannot be read", "case_00000.tfrecord: is in no manifest",
                       "case_00001.tfrecord: is in no manifest"]),
    "forgotten case": (lambda data: _edit(dataset.manifest_path(data, "coarse"), lambda known: known["cases"].pop(
        "case_00000")), ["case_00000: was never prepared for coarse", "case_00000.tfrecord: is in no manifest"]),
    "changed checksum": (lambda data: _edit(dataset.manifest_path(data, "coarse"), lambda known: known["cases"][
        "case_00000"]["shard"].update(sha256="0" * 64)), ["coarse/case_00000.tfrecord: is damaged"]),
    "no folds": (lambda data: dataset.folds_path(data).unlink(), ["folds.json: cannot be read"] * 2),
    "case in no fold": (lambda data: _edit(dataset.folds_path(data), lambda known: known.update(
        folds=[["case_00000"], [], [], [], []])), ["case_00001: is in no fold"] * 2),
    "case in two folds": (lambda data: _edit(dataset.folds_path(data), lambda known: known["folds"].append(
        ["case_00000"])), ["has case_00000 in two folds"] * 2),
}


def test_a_whole_folder_is_status_0_and_counts_its_shards(folder, capsys):
    assert check_data(folder / "data", "all", CONFIG, folder / "study") == WHOLE == 0
    assert capsys.readouterr().err == f"{folder / 'data'}: all 4 shards are whole (coarse, tumor3d)\n"


@pytest.mark.parametrize("how", SPOILT)
def test_what_is_wrong_is_named_and_nothing_is_written(how, folder, capsys):
    spoil, said = SPOILT[how]
    spoil(folder / "data")
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}
    assert check_data(folder / "data") == DAMAGED == 2
    *lines, verdict = capsys.readouterr().err.splitlines()
    assert len(lines) == len(said)
    assert [part in line for part, line in zip(said, lines, strict=True)] == [True] * len(said)
    assert f"{len(said)} problems" in verdict
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")} == before


def test_shards_of_other_files_than_the_studys_are_stale_or_orphans(folder):
    path = write_case(folder / "study", "case_00001", two_kidneys(), seed=9)
    assert path.shape == noisy_scan().shape
    shutil.rmtree(folder / "study" / "case_00000")
    write_case(folder / "study", "case_00002", two_kidneys())
    lines, _ = problems(folder / "data", "coarse", study=folder / "study")
    shard = dataset.shard_path(folder / "data", "coarse", "case_00001")
    assert lines == [f"{shard}: is stale, imaging changed", "case_00002: was never prepared for coarse",
                     f"{shard.with_stem('case_00000')}: is an orphan, the study has no such case"]
    assert problems(folder / "data", "coarse")[0] == []  # cannot be detected without the study


def test_shards_of_other_settings_are_stale(folder):
    other = dataclasses.replace(CONFIG, tumor3d=dataclasses.replace(CONFIG.tumor3d, centres_per_class=4))
    line, = problems(folder / "data", config=other)[0]
    assert line == (f"{dataset.manifest_path(folder / 'data', 'tumor3d')}: is stale, made with other settings than "
                    f"those of preset tiny")


@pytest.mark.parametrize("stage", ["all", "fine"])
def test_nothing_to_check_is_a_mistake_not_damage(stage, tmp_path):
    with pytest.raises(InputError, match="to check; make them with"):
        check_data(tmp_path, stage)
