"""Checks voxels as they are read and converts them: Hounsfield units of a scan, or the values of labels.

Each function takes the file, for messages, and a block of its voxels of any shape, and returns the converted block.
"""

import pathlib
from collections.abc import Collection, Mapping
from types import MappingProxyType

import numpy as np

from kits_tf.errors import InputError

MOST_OFF = 0.01  # of a label from a whole number: a scale factor in the header moves it far less, interpolation more


def hounsfield(path: str | pathlib.Path, block: np.ndarray) -> np.ndarray:
    """Converts a block to int16 if its values are whole numbers that fit, in any dtype; else to finite float32.

    Raises:
        InputError: if a value is NaN or infinite.
    """
    if block.dtype.kind == "f":
        block = finite(path, block)
        whole = block.astype(np.int16) if np.abs(block).max() < 2**15 else None
        return whole if whole is not None and np.array_equal(whole, block) else block
    limits = np.iinfo(np.int16)
    fits = np.can_cast(block.dtype, np.int16) or (
        limits.min <= int(block.min()) and int(block.max()) <= limits.max)
    return block.astype(np.int16 if fits else np.float32, copy=False)


def finite(path: str | pathlib.Path, block: np.ndarray) -> np.ndarray:
    """Converts a block to float32. Raises InputError if a value is NaN or infinite."""
    with np.errstate(over="ignore"):  # values too large for float32 become infinite and are rejected
        block = block.astype(np.float32, copy=False)
    bad = block.size - np.count_nonzero(np.isfinite(block))
    if bad:
        raise InputError(f"{path}: at least {bad} voxels are NaN or infinite, expected finite numbers")
    return block


def label_values(path: str | pathlib.Path, block: np.ndarray, values: Collection[int],
                 remedies: Mapping[int, str] = MappingProxyType({})) -> np.ndarray:
    """Converts a block of labels to uint8.

    Tools that rewrite labels store them as floats with a scale factor: 1.00002 is 1, up to MOST_OFF from it.

    Args:
        path: the file.
        block: its values.
        values: those that it may have, 0 to 255.
        remedies: what to do about another value, for the message.

    Raises:
        InputError: if a value is another.
    """
    near = block
    if block.dtype.kind == "f":
        block = finite(path, block)
        near = np.rint(block)
    with np.errstate(invalid="ignore"):  # a value that is no label may not fit uint8
        found = near.astype(np.uint8, copy=False)
    known = np.zeros(256, bool)
    known[list(values)] = True
    wrong = ~known[found] | (found != near)
    if near is not block:
        wrong |= np.abs(block - near) > MOST_OFF
    if wrong.any():
        first = block[wrong].min()
        raise InputError(f"{path}: holds label {first:g}, expected only {', '.join(map(str, sorted(values)))}"
                         + "".join(f"; {text}" for value, text in remedies.items() if value == first))
    return found
