"""Tests the split of shards into training and validation sets, and its one-line errors."""

import json

import pytest

from kits_tf.config import PRESETS
from kits_tf.errors import InputError
from kits_tf.records import dataset

CONFIG = PRESETS["demo"]
NAMES = [f"case_{number:05d}" for number in range(10)]
FOLDS = [NAMES[fold::5] for fold in range(5)]


@pytest.fixture
def data(tmp_path):
    """Data folder of ten cases; case_00007 could not be prepared, case_00008 gave no examples."""
    entries = {name: {"records": 4} for name in NAMES}
    entries["case_00007"] = {"failure": "torn"}
    entries["case_00008"] = {"records": 0}
    path = dataset.manifest_path(tmp_path, "fine")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"settings": CONFIG.record_settings("fine"), "cases": entries}))
    dataset.folds_path(tmp_path).write_text(json.dumps({"seed": 0, "folds": FOLDS}))
    return tmp_path


def test_paths_follow_stage_and_case(tmp_path):
    assert dataset.shard_path(tmp_path, "fine", "case_00001") == tmp_path / "records" / "fine" / "case_00001.tfrecord"
    assert dataset.manifest_path(tmp_path, "fine") == tmp_path / "records" / "fine" / "manifest.json"
    assert dataset.folds_path(tmp_path) == tmp_path / "folds.json"


def test_a_fold_is_the_validation_set_and_the_rest_is_trained_on(data):
    train, held_out = dataset.split(data, "fine", 1, CONFIG)
    assert [path.stem for path in held_out] == ["case_00001", "case_00006"]
    assert [path.stem for path in train] == [f"case_0000{number}" for number in (0, 2, 3, 4, 5, 9)]
    assert train[0] == dataset.shard_path(data, "fine", "case_00000")


def test_cases_without_examples_are_on_neither_side(data):
    sides = [dataset.split(data, "fine", fold, CONFIG) for fold in range(5)]
    for train, held_out in sides:
        names = {path.stem for path in [*train, *held_out]}
        assert names == set(NAMES) - {"case_00007", "case_00008"}
        assert len(train) + len(held_out) == 8
    assert sorted(path.stem for _, held_out in sides for path in held_out) == sorted(names)  # each validates once


def test_without_records_the_command_that_makes_them_is_named(tmp_path):
    with pytest.raises(InputError) as caught:
        dataset.split(tmp_path, "fine", 0, CONFIG)
    assert f"python -m data_prep --input=STUDY --output={tmp_path} --preset=demo --stage=fine" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_records_of_other_settings_are_refused(data):
    with pytest.raises(InputError, match="made with other settings than preset paper's; give the --preset and --set"):
        dataset.split(data, "fine", 0, PRESETS["paper"])


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_that_is_not_there_is_named(fold, data):
    with pytest.raises(InputError, match=f"no fold {fold}"):
        dataset.split(data, "fine", fold, CONFIG)


def test_a_fold_without_validation_cases_is_refused(data):
    dataset.folds_path(data).write_text(json.dumps({"folds": [[*NAMES[:7], *NAMES[8:]], ["case_00007"], [], [], []]}))
    for fold, counts in ((0, "0 training cases and 8 validation cases"),
                         (1, "8 training cases and 0 validation cases")):
        with pytest.raises(InputError, match=counts):
            dataset.split(data, "fine", fold, CONFIG)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", '{"seed": 0}', '{"folds": 3}', '{"folds": [1, 2]}'])
def test_folds_that_cannot_be_read_are_named(text, data):
    dataset.folds_path(data).unlink()
    if text is not None:
        dataset.folds_path(data).write_text(text)
    with pytest.raises(InputError, match=r"folds\.json") as caught:
        dataset.split(data, "fine", 0, CONFIG)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"cases": {}}', '{"settings": {}}',
                                  '{"settings": {}, "cases": 3}'])
def test_a_manifest_that_cannot_be_read_is_named(text, data):
    dataset.manifest_path(data, "fine").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json"):
        dataset.read_manifest(data, "fine")


def test_no_manifest_is_none(tmp_path):
    assert dataset.read_manifest(tmp_path, "fine") is None
