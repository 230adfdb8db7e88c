"""Chooses what the nets compute in: float32, or bfloat16 where the processor is faster in it.

An export holds its weights once, in float32. Its signature `bfloat16` computes some stages in bfloat16; contents.json
lists them, and says whether their labels were compared with float32's (kits_tf.cascade --compare). Exports of older
versions have no such signature.
"""

import json
import pathlib

from kits_tf import device
from kits_tf.errors import InputError, one_line

PRECISIONS = ("float32", "bfloat16")


def compiles(xla: str, asked: str, gpu: bool) -> bool:
    """Returns whether XLA compiles the nets. With `xla` "auto" it does so on a GPU, unless bfloat16 is asked for."""
    return xla == "on" or (xla == "auto" and gpu and asked != "bfloat16")


def choose(asked: str, version: pathlib.Path, compiled: bool) -> str:
    """Returns the precision to compute an export in on this machine, as `chosen` does.

    Args:
        asked, compiled: as of `chosen`.
        version: folder of the export's version.

    Raises:
        ValueError, InputError: as `chosen`.
    """
    path = version / "assets" / "contents.json"
    try:
        return chosen(asked, path.read_text() if path.exists() else "{}", compiled, device.computes_fast_in_bfloat16(),
                      version)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def chosen(asked: str, contents: str | bytes, compiled: bool, fast: bool, where: object) -> str:
    """Returns the precision to compute an export in, "float32" or "bfloat16".

    Args:
        asked: "float32", "bfloat16" or "auto": bfloat16 if `fast`, some stages have such nets, their labels were
            compared with float32's, and XLA does not compile the nets.
        contents: the export's contents.json.
        compiled: whether XLA compiles the nets.
        fast: whether the processor is faster in bfloat16.
        where: the export's path, for messages.

    Raises:
        ValueError: if `asked` has another value.
        InputError: if the export cannot compute in what is asked for, or `contents` is no JSON object.
    """
    if asked not in ("auto", *PRECISIONS):
        raise ValueError(f'precision must be "auto", "float32" or "bfloat16", got {asked}')
    try:
        known = dict(json.loads(contents))
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: cannot be loaded as an exported cascade ({one_line(error)})") from error
    own, stages = known.get("precision", "float32"), known.get("bfloat16")
    safe = bool(stages and known.get("bfloat16_compared"))
    if own != "float32":  # of an older version, whose nets compute in bfloat16 in every signature
        if asked not in ("auto", own):
            raise InputError(f"{where}: this export computes in {own} only, not in --precision={asked}; export the "
                             f"cascade again, which then can do both")
        return own
    if asked == "bfloat16" and stages is None:
        raise InputError(f"{where}: this export has no signature bfloat16; export the cascade again, or leave out "
                         f"--precision=bfloat16")
    if asked == "bfloat16" and compiled:
        raise InputError("--precision=bfloat16 and --xla=on exclude each other: no signature does both")
    return "bfloat16" if asked == "bfloat16" or (asked == "auto" and safe and fast and not compiled) else "float32"
