"""Replaces settings by name, as --set=fine.training.learning_rate=5e-4 does.

A setting's name is its path in CascadeConfig. A name that starts with "all." stands for the setting of every stage that
has it: all.training.epochs=5.
"""

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterable, Mapping

from kits_tf.config.cascade import CascadeConfig
from kits_tf.config.serialization import from_json
from kits_tf.config.stages import STAGES

EXPECTED = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


def names() -> dict[str, typing.Any]:
    """Returns the type of every setting by its name, in the order of the dataclasses."""
    return dict(_leaves(CascadeConfig, ""))


def _leaves(cls, path):
    for name, kind in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(kind):
            yield from _leaves(kind, f"{path}{name}.")
        elif path + name != "preset":  # a name, not a setting
            yield path + name, kind


def value_of(config: CascadeConfig, name: str) -> typing.Any:
    """Returns the value of a setting."""
    value: typing.Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def parse(assignments: Iterable[str]) -> dict[str, typing.Any]:
    """Converts NAME=VALUE texts to a dict of names and values for `override`; a later text replaces an earlier one.

    Tuples are written as 3,0.7816,0.7816. Whether a value makes sense is checked by `override`.

    Raises:
        ValueError: if a name does not exist (the message has the nearest name), or a value has the wrong type.
    """
    known, values = names(), {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"{assignment}: expected NAME=VALUE, such as fine.training.epochs=50")
        for each in _expand(name, known):
            values[each] = _read(text, known[each], assignment)
    return values


def _expand(name, known):
    ours = [f"{stage}{name[3:]}" for stage in STAGES] if name.startswith("all.") else [name]
    found = [each for each in ours if each in known]
    if not found:
        raise ValueError(f"{name}: {_nearest(name, known)}")
    return found


def _nearest(name, known):
    inner = dict.fromkeys(each.partition(".")[2] for each in known if each.partition(".")[0] in STAGES)
    choices = [*(f"all.{each}" for each in inner), *known]
    within = [choice for choice in choices if choice.startswith(f"{name}.")]
    if within:
        return f"is a group of settings; set one of them, such as {within[0]}"
    last = [choice for choice in choices if choice.endswith(f".{name}")]
    near = last or difflib.get_close_matches(name, choices, n=1)
    return "no such setting" + (f"; did you mean {near[0]}?" if near else "; --help_settings lists them")


def _read(text, kind, assignment):
    kinds = typing.get_args(kind) or (kind,)
    parts = text.split(",") if typing.get_args(kind) else [text]
    try:
        values = tuple(_convert(part.strip(), each) for part, each in zip(parts, kinds, strict=True))
    except ValueError as error:
        expected = EXPECTED[kinds[0]]
        if len(kinds) > 1:  # all tuples are of numbers
            expected = f"{len(kinds)} {expected.removeprefix('a ')}s, separated by commas"
        raise ValueError(f"{assignment}: expected {expected}") from error
    return values if typing.get_args(kind) else values[0]


def _convert(text, kind):
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    return kind(text)


def override(config: CascadeConfig, changes: Mapping[str, typing.Any]) -> CascadeConfig:
    """Returns a config in which the named settings have new values.

    All are replaced together, so that settings that depend on each other can change.

    Raises:
        ValueError: if a value is invalid; the message names the setting, the rule and the value.
    """
    if not changes:
        return config
    fields = dataclasses.asdict(config)
    for name, value in changes.items():
        *path, last = name.split(".")
        inner = fields
        for part in path:
            inner = inner[part]
        inner[last] = value
    try:
        return from_json(json.dumps(fields))
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"{CascadeConfig.__name__}.")) from error
