"""Checks for config dataclasses. They raise ValueError with the field, the rule and the value."""

import typing

LARGEST_INT, LARGEST_FLOAT = 2**31 - 1, 3e38  # limits of TensorFlow's int32 and float32


def check(condition: bool, name: str, value: object, rule: object) -> None:
    """Raises ValueError with the field's name, its value and the broken rule if the condition is false."""
    if not condition:
        raise ValueError(f"{name} must be {rule}, got {value}")


def check_types(config: typing.Any) -> None:
    """Checks that each field has its declared type, for example a tuple of the right length after reading JSON."""
    for name, kind in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        check(_is(value, kind), name, value, kind.__name__ if isinstance(kind, type) else kind)


def _is(value, kind):
    if typing.get_origin(kind) is tuple:
        kinds = typing.get_args(kind)
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is, value, kinds))
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and -LARGEST_FLOAT < value < LARGEST_FLOAT  # excludes NaN
    return isinstance(value, kind) and not (kind is int and abs(value) > LARGEST_INT)


def check_least(config: typing.Any, least: float, *names: str) -> None:
    """Checks that fields, numbers or tuples of numbers, are at least `least`; NaN fails."""
    for name in names:
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else (value,)
        check(all(number >= least for number in numbers), name, value, f"{least} or more")
