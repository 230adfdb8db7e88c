"""Which class each value of a label file is: KiTS19's 1 and 2, or what dataset.json or --labels says.

Takes text such as kidney:1,tumor:2,cyst:3, or the dataset.json of nnU-Net or of the Medical Segmentation Decathlon;
returns a LabelMap, which turns the values of a file into class ids. Cysts become kidney, as KiTS19 labels them; where
they are labeled, scores of masses (tumor or cyst) need them.
"""

import dataclasses
import json
import pathlib
import re
import typing

import numpy as np

from kits_tf import labels as classes
from kits_tf.errors import InputError, one_line
from kits_tf.volume import Volume

CYST = "cyst"
CLASS_OF = {"background": classes.BACKGROUND, "kidney": classes.KIDNEY, "tumor": classes.TUMOR, CYST: classes.KIDNEY}
MOST_VALUE = 255
SYNTAX = "expected NAME:VALUE,... with the names background, kidney, tumor and cyst, such as kidney:1,tumor:2,cyst:3"
IGNORED = "ignore"  # nnU-Net's name for voxels that nobody labeled
# Words of the names in a dataset.json. A name with any other word, such as liver tumor, is another organ's.
WORDS = {"tumor": {"tumor", "tumors", "tumour", "tumours", "cancer", "carcinoma", "neoplasm", "rcc"},
         "mass": {"mass", "masses", "lesion", "lesions"}, CYST: {"cyst", "cysts"},
         "kidney": {"kidney", "kidneys", "renal"}}
JOINED = {"and", "with", "whole"}
FREE_WORDS = {"left", "right", "l", "r", "cell", "parenchyma", "cortex", *JOINED}


@dataclasses.dataclass(frozen=True)
class LabelMap:
    """The meaning of the values in label files.

    Attributes:
        pairs: (value, name) sorted by value; each name is a key of CLASS_OF. Value 0 is background if it is not listed.

    Raises:
        InputError: if a value is listed twice or not 0 to 255, or no value is kidney.
    """

    pairs: tuple[tuple[int, str], ...]

    def __post_init__(self):
        values = [value for value, _ in self.pairs]
        if len(set(values)) < len(values) or not all(0 <= value <= MOST_VALUE for value in values):
            raise InputError(f"{self}: expected every value once, from 0 to {MOST_VALUE}")
        if "kidney" not in self.names.values():
            raise InputError(f"{self}: names no kidney; {SYNTAX}")

    def __str__(self) -> str:
        """Returns the pairs in the flag's syntax."""
        return ",".join(f"{name}:{value}" for value, name in self.pairs)

    @property
    def names(self) -> dict[int, str]:
        """The name of each value."""
        return {0: "background", **dict(self.pairs)}

    @property
    def has_cysts(self) -> bool:
        """Whether a value stands for cysts."""
        return CYST in self.names.values()

    def value_of(self, class_id: int) -> int | None:
        """Returns the one value of a class, cysts aside; None if there are several or none."""
        values = [value for value, name in self.names.items() if CLASS_OF[name] == class_id and name != CYST]
        return values[0] if len(values) == 1 or class_id == classes.BACKGROUND else None

    @property
    def remedies(self) -> dict[int, str]:
        """What to do about a value without meaning, for messages."""
        if self != KITS19:
            return {}
        return {3: "if it is a cyst, as in KiTS21 and KiTS23, say so: kidney:1,tumor:2,cyst:3 (--labels, --label_map)"}

    def apply(self, values: Volume) -> tuple[Volume, np.ndarray | None]:
        """Returns (class ids, mask of cysts): a Volume of uint8, and a bool array (z, y, x), or None without cysts.

        Args:
            values: Volume of uint8, the values of a file, each of them a key of `names`.
        """
        table = np.zeros(MOST_VALUE + 1, np.uint8)
        for value, name in self.names.items():
            table[value] = CLASS_OF[name]
        cysts = [value for value, name in self.names.items() if name == CYST]
        return values.with_voxels(table[values.voxels]), np.isin(values.voxels, cysts) if cysts else None


KITS19 = LabelMap(((1, "kidney"), (2, "tumor")))
KITS23 = LabelMap(((1, "kidney"), (2, "tumor"), (3, CYST)))


def parse(text: str, flag: str = "--labels") -> LabelMap:
    """Reads a LabelMap from text such as kidney:1,tumor:2,cyst:3; a name may have several values.

    Raises:
        InputError: if the text is something else.
    """
    pairs = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\w+)\s*:\s*(\d{1,3})\s*", part)
        if not found or found[1] not in CLASS_OF:
            raise InputError(f"{flag}={text}: {part.strip()!r} is not understood; {SYNTAX}")
        pairs.append((int(found[2]), found[1]))
    try:
        return LabelMap(tuple(pair for pair in sorted(pairs) if pair != (0, "background")))
    except InputError as error:
        raise InputError(f"{flag}={text}: {str(error).partition(': ')[2]}") from error


def read_dataset(path: str | pathlib.Path) -> dict[str, typing.Any]:
    """Reads a dataset.json.

    Raises:
        InputError: if it cannot be read or is no JSON object.
    """
    try:
        known = json.loads(pathlib.Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({one_line(error)})") from error
    if not isinstance(known, dict):
        raise InputError(f"{path}: is no JSON object, expected nnU-Net's or the Decathlon's dataset.json")
    return known


def from_dataset(path: str | pathlib.Path, known: dict[str, typing.Any]) -> LabelMap:
    """Returns the LabelMap of a dataset.json.

    Takes nnU-Net's {"kidney": 1} and its regions {"kidney": [1, 2, 3], "tumor": 2}, and the {"1": "kidney"} of the
    Decathlon and of nnU-Net's first version. Of a value in several regions, tumor wins over cyst, cyst over kidney. A
    mass is a cyst if a tumor is named too, else a tumor. Other organs are background.

    Args:
        path: the file, for the message.
        known: its content (read_dataset).

    Raises:
        InputError: if the labels are not understood, name no kidney, or have nnU-Net's label `ignore`.
    """
    given: typing.Any = known.get("labels")
    remedy = "give --labels=kidney:VALUE,tumor:VALUE"
    try:
        named = {str(name): value if isinstance(value, list) else [value] for name, value in dict(given).items()}
        if all(name.strip().isdigit() for name in named):  # {"1": "kidney"}
            turned: dict[str, list] = {}
            for number, names in named.items():
                turned.setdefault(str(names[0]), []).append(number)
            named = turned
        found: dict[int, set[str]] = {}
        for name, values in named.items():
            for value in map(int, values):
                found.setdefault(value, set()).add(_kind(name))
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: its labels are not understood ({str(given)[:80]}); {remedy}") from error
    if IGNORED in (name.lower() for name in named):
        raise InputError(f"{path}: has a label {IGNORED}, voxels that nobody labeled, which is not supported; "
                         f"{remedy}, with background:VALUE for these voxels")
    has_tumor = any("tumor" in kinds for kinds in found.values())
    pairs = []
    for value, kinds in sorted(found.items()):
        kind = next((kind for kind in ("tumor", CYST, "mass", "kidney") if kind in kinds), "background")
        pairs.append((value, {"mass": CYST if has_tumor else "tumor"}.get(kind, kind)))
    if "kidney" not in (name for _, name in pairs):
        raise InputError(f"{path}: names no kidney among its labels ({', '.join(named)[:80]}); {remedy}")
    try:
        return LabelMap(tuple(pair for pair in pairs if pair != (0, "background")))
    except InputError as error:
        raise InputError(f"{path}: {str(error).partition(': ')[2]}; {remedy}") from error


def _kind(name):
    """Returns the key of WORDS that a label's name means, or "other"."""
    words = set(re.findall(r"[a-z]+", name.lower().replace("background", "")))
    if words & WORDS["kidney"] and words & JOINED and words <= set.union(FREE_WORDS, *WORDS.values()):
        return "kidney"  # kidney and masses, a region
    for kind, some in WORDS.items():
        if words & some and words <= set.union(FREE_WORDS, *WORDS.values()):
            return kind
    return "other"
