"""Tests which precision a run computes in: by flag, hardware, export and XLA."""

import json

import pytest

from kits_tf.errors import InputError
from kits_tf.serving.precision import chosen

WIDE = {"bfloat16": ["fine"], "bfloat16_compared": {"study": "kits19", "least_dice": {"fine": 0.9991}}}
UNCOMPARED, NARROW, OLD = {"bfloat16": ["fine"]}, {"bfloat16": []}, {}


@pytest.mark.parametrize(("asked", "contents", "compiled", "fast", "expected"), [
    ("auto", WIDE, False, True, "bfloat16"), ("auto", WIDE, False, False, "float32"),
    ("auto", WIDE, True, True, "float32"), ("auto", NARROW, False, True, "float32"),
    ("auto", UNCOMPARED, False, True, "float32"), ("bfloat16", UNCOMPARED, False, False, "bfloat16"),
    ("auto", OLD, False, True, "float32"), ("auto", {"precision": "bfloat16"}, False, False, "bfloat16"),
    ("bfloat16", WIDE, False, False, "bfloat16"), ("bfloat16", NARROW, False, False, "bfloat16"),
    ("float32", WIDE, False, True, "float32"), ("float32", WIDE, True, True, "float32")])
def test_the_flag_decides_then_the_hardware(asked, contents, compiled, fast, expected):
    assert chosen(asked, json.dumps(contents), compiled, fast, "export/1") == expected


@pytest.mark.parametrize(("asked", "contents", "compiled", "said"), [
    ("bfloat16", OLD, False, r"^export/1: this export has no signature bfloat16; export the cascade again"),
    ("bfloat16", WIDE, True, "--precision=bfloat16 and --xla=on exclude each other"),
    ("float32", {"precision": "bfloat16"}, False, "computes in bfloat16 only, not in --precision=float32"),
    ("auto", 3, False, "export/1: cannot be loaded")])
def test_what_an_export_cannot_do_is_one_line(asked, contents, compiled, said):
    with pytest.raises(InputError, match=said) as caught:
        chosen(asked, json.dumps(contents), compiled, True, "export/1")
    assert len(str(caught.value).splitlines()) == 1
