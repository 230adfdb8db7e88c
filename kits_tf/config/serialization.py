"""Converts config dataclasses to JSON text and back. Configs are saved beside weights and inside exports."""

import dataclasses
import json
import typing
from collections.abc import Iterator

from kits_tf.config.cascade import CascadeConfig
from kits_tf.config.checks import check

# Settings of earlier versions that are constants now, with their values.
CONSTANTS = {"CascadeConfig.normal_kidneys": 2, "CascadeConfig.body_hu": -300.0,
             "CascadeConfig.tumor3d.tile_overlap": 0.25}


def to_json(config: CascadeConfig) -> str:
    """Converts a config to JSON text; `from_json` is the inverse."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str | bytes) -> CascadeConfig:
    """Builds a config from the text of `to_json`. Missing fields get their defaults.

    Raises:
        ValueError: if the text is no JSON, has an unknown or duplicate field, or a value is invalid.
    """
    try:
        fields = json.loads(text, object_pairs_hook=_each_once)
    except RecursionError as error:
        raise ValueError("CascadeConfig must be a JSON object, got one that is nested too deeply") from error
    return _build(CascadeConfig, fields, "CascadeConfig")


def _each_once(pairs):
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    check(not twice, "a JSON object's fields", ", ".join(twice), "named once each")
    return dict(pairs)


def _build(cls, fields, path):
    check(isinstance(fields, dict), path, fields, "a JSON object")
    known = typing.get_type_hints(cls)
    fields = {name: value for name, value in fields.items() if CONSTANTS.get(f"{path}.{name}", known) != value}
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ValueError(f"{path} has no field {unknown[0]}; it has {', '.join(known)}")
    values = {}
    for name, value in fields.items():
        if dataclasses.is_dataclass(known[name]):
            value = _build(known[name], value, f"{path}.{name}")
        elif isinstance(value, list):
            value = tuple(value)
        values[name] = value
    try:
        return cls(**values)
    except ValueError as error:  # its message starts with the field's name
        raise ValueError(f"{path}.{error}") from error


def differences(there: dict, here: dict, path: str = "") -> Iterator[str]:
    """Yields a phrase for each field of `here` that has another value there; `path` is the prefix of their names."""
    for name in here:
        then, now = there.get(name), here[name]
        if isinstance(now, dict) and isinstance(then, dict):
            yield from differences(then, now, f"{path}{name}.")
        elif then != now:
            short = [value if len(value) < 40 else value[:36] + "..." for value in (str(then), str(now))]
            yield f"{path}{name}={short[0]}, now {short[1]}"
