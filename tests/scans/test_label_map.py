"""Tests the meaning of label values: the flag's text, and every form of dataset.json."""

import json
import re

import numpy as np
import pytest

from kits_tf.errors import InputError
from kits_tf.scans.label_map import KITS19, KITS23, from_dataset, parse, read_dataset
from kits_tf.volume import Volume


@pytest.mark.parametrize(("text", "pairs"), [
    ("kidney:1,tumor:2", KITS19.pairs), ("kidney:1,tumor:2,cyst:3", KITS23.pairs),
    (" tumor : 4 , kidney:1,kidney:2", ((1, "kidney"), (2, "kidney"), (4, "tumor"))),
    ("kidney:1,tumor:2,tumor:3", ((1, "kidney"), (2, "tumor"), (3, "tumor"))),
    ("background:0,kidney:1,background:5", ((1, "kidney"), (5, "background")))])
def test_the_flag_names_values_and_a_name_may_have_several(text, pairs):
    assert parse(text).pairs == pairs
    assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize(("text", "said"), [
    ("kidney", "'kidney' is not understood"), ("liver:1,kidney:2", "'liver:1' is not understood"),
    ("kidney:-1", "'kidney:-1' is not understood"), ("kidney:1,tumor:1", "expected every value once"),
    ("kidney:256", "from 0 to 255"), ("tumor:2", "names no kidney"), ("", "'' is not understood")])
def test_a_wrong_flag_is_one_line(text, said):
    with pytest.raises(InputError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"--labels={text}: {said}") or said in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("labels", "text"), [
    ({"background": 0, "kidney": 1, "tumor": 2}, "kidney:1,tumor:2"),
    ({"0": "background", "1": "kidney", "2": "tumor"}, "kidney:1,tumor:2"),
    ({"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}, "kidney:1,tumor:2,cyst:3"),
    ({"background": 0, "Kidney and masses": [1, 2], "masses": [2]}, "kidney:1,tumor:2"),
    ({"background": 0, "left_kidney": 1, "Right Kidney": 2, "kidney tumour": 3, "renal cyst": 4},
     "kidney:1,kidney:2,tumor:3,cyst:4"),
    ({"background": 0, "spleen": 1, "right kidney": 2, "left kidney": 3, "liver tumor": 4},
     "background:1,kidney:2,kidney:3,background:4"),
    ({"0": "background", "1": "renal cell carcinoma", "2": "kidney"}, "tumor:1,kidney:2")])
def test_a_dataset_json_of_any_form_is_understood(labels, text):
    assert str(from_dataset("dataset.json", {"labels": labels})) == text


@pytest.mark.parametrize(("labels", "said"), [
    ({"background": 0, "liver": 1, "tumor": 2}, "names no kidney among its labels (background, liver, tumor)"),
    ({"background": 0, "kidney": 1, "ignore": 2}, "has a label ignore"), (None, "labels are not understood"),
    ([1, 2], "labels are not understood"), ({"kidney": "one"}, "labels are not understood"),
    ({"kidney": 300}, "expected every value once, from 0 to 255")])
def test_a_dataset_json_without_a_kidney_or_a_sense_says_what_to_give(labels, said):
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        from_dataset("here/dataset.json", {"labels": labels})
    assert str(caught.value).startswith("here/dataset.json: ") and "--labels=kidney:VALUE" in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[1]", "\ufeff{", "\0"])
def test_a_damaged_dataset_json_is_one_line(text, tmp_path):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json: ") as caught:
        read_dataset(tmp_path / "dataset.json")
    assert str(caught.value).isprintable()


def test_a_dataset_json_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "dataset.json").write_text("\ufeff" + json.dumps({"labels": {}}))
    assert read_dataset(tmp_path / "dataset.json") == {"labels": {}}


def test_cysts_become_kidney_and_are_kept_apart_for_scores():
    values = Volume.from_spacing(np.array([[[0, 1, 2, 3, 3]]], np.uint8), (1, 1, 1))
    ids, cysts = KITS23.apply(values)
    assert ids.voxels.tolist() == [[[0, 1, 2, 1, 1]]] and cysts.tolist() == [[[False] * 3 + [True] * 2]]
    assert KITS19.apply(values.with_voxels(np.minimum(values.voxels, 2)))[1] is None


@pytest.mark.parametrize(("text", "values"), [
    ("kidney:1,tumor:2,cyst:3", [0, 1, 2]), ("kidney:5,tumor:9", [0, 5, 9]),
    ("kidney:1,kidney:2,tumor:3", [0, None, 3]), ("kidney:4", [0, 4, None])])
def test_the_one_value_of_a_class_is_known_for_writing(text, values):
    assert [parse(text).value_of(class_id) for class_id in range(3)] == values
