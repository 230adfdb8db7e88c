"""Fuzz tests of config JSON: output of to_json is read back; anything else raises a one-line ValueError at once."""

import dataclasses
import json
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kits_tf import config as configs

fixed = settings(deadline=2000, max_examples=200, derandomize=True)
SCALARS = (st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
           | st.sampled_from([0, -1, 1, 2**31, 10**30, 1e308, "paper", "batch", "none"]))
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    st.text(max_size=8), inner, max_size=4), max_leaves=12)


def paths(cls, before=()):
    """Returns the paths of all fields of a config, nested ones included."""
    for name, kind in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(kind):
            yield from paths(kind, (*before, name))
        yield (*before, name)


PATHS = list(paths(configs.CascadeConfig))


def read(text):
    """Returns the config, or None if it is refused with a proper error."""
    try:
        config = configs.from_json(text)
    except ValueError:
        return None
    assert configs.from_json(configs.to_json(config)) == config
    assert json.loads(configs.to_json(config))  # without NaN or Infinity, which JSON lacks
    return config


@fixed
@given(st.text(max_size=60) | ANYTHING.map(json.dumps) | st.sampled_from(['{"a": 1}' * 2, "\ufeff{}", "NaN", "1e999"]))
def test_any_text_is_a_config_or_a_value_error(text):
    read(text)


@fixed
@given(st.sampled_from(sorted(configs.PRESETS)), st.lists(st.tuples(st.sampled_from(PATHS), ANYTHING), min_size=1,
                                                          max_size=3))
def test_any_value_in_any_field_is_taken_or_refused(preset, changes):
    fields = json.loads(configs.to_json(configs.PRESETS[preset]))
    for path, value in changes:
        inside = fields
        for name in path[:-1]:
            inside = inside.get(name) if isinstance(inside, dict) else None
        if isinstance(inside, dict):
            inside[path[-1]] = value
    config = read(json.dumps(fields))
    if config is not None:
        for stage in configs.STAGES:
            assert all(size > 0 for size in config.record_shape(stage))
            assert json.loads(json.dumps(config.record_settings(stage))) == config.record_settings(stage)


@fixed
@given(st.binary(max_size=40), st.integers(0, 4000))
def test_a_torn_or_overwritten_file_is_refused_or_still_a_config(garbage, at):
    raw = configs.to_json(configs.PRESETS["paper"]).encode()
    read((raw[:at] + garbage + raw[at + len(garbage):]).decode("utf-8", "replace"))
    read(raw[:at].decode())


@pytest.mark.parametrize("text", [
    "[" * 100_000, '{"fine": ' * 50_000, '{"fine": {"net": {"levels": 1000000000000}}}',
    '{"coarse": {"net": {"levels": 100000}}}', '{"spacing_mm": [NaN, 1, 1]}', '{"spacing_mm": [Infinity, 1, 1]}',
    '{"fine": {"training": {"learning_rate": Infinity}}}', '{"window_hu": [-Infinity, 4.0]}',
    '{"lesion_threshold": NaN}', '{"lesion_threshold": 1e999}', '{"fine": {"training": {"augment": {"noise": 1e999}}}}',
    '{"kidney_min_voxels": ' + "9" * 5000 + "}", '{"preset": "a", "preset": "b"}'],
    ids=lambda text: text[:40])
@pytest.mark.timeout(20)
def test_what_could_hang_or_hide_is_refused(text):
    with pytest.raises(ValueError):
        configs.from_json(text)
