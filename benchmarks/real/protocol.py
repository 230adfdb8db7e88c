"""Finds the scans of a folder; defines the fixed split and the targets.

Takes DIR/<name>/imaging.nii.gz, with kidney.nii.gz beside it if there is a reference, and DIR/scans.csv, one row per
scan. All columns of the table except `name` may be missing or empty.
"""

import csv
import dataclasses
import pathlib
import re

from kits_tf.errors import InputError
from kits_tf.scans.discovery import ENDINGS

VALIDATION = ("example_ct", "tcga_coad", "amos_0001_slab", "chest_kits00072")  # settings are chosen on these
TEST = ("acrin_flt001", "tcga_lihc", "cptac_lung_kernel", "amos_0013_slab")  # these are only reported
SPLITS = ("validation", "test", "other")
LAST_VALIDATION_CASE = 95  # of the tumor slices; later cases are in the test set

CONTRAST, NON_CONTRAST, UNKNOWN = "contrast-enhanced", "non-contrast", "phase unknown"
GROUPS = (CONTRAST, NON_CONTRAST, UNKNOWN)
WITHOUT_CONTRAST = ("non-contrast", "noncontrast", "native", "unenhanced", "plain")
MAKERS = re.compile(r"\b(Siemens|GE|Philips|Toshiba|Canon|Hitachi|United Imaging)\b")

TABLE = "scans.csv"
TUMOR_SLICES = "tumor-slices"

KIDNEY_DICE = {CONTRAST: (0.92, 0.86), NON_CONTRAST: (0.87, 0.78)}  # mean, worst
WITHOUT_KIDNEYS_ML = 5.0  # most volume labeled in each scan without kidneys
FAR_ML = 5.0  # most volume labeled more than FAR_MM from any reference kidney, in each scan
FAR_MM = 10.0
TUMOR_ML = (2.0, 10.0)  # labeled tumor in a scan without one: median, worst
SLICES = {"kidney_dice": 0.88, "inside_true": 0.80, "tumor_dice": 0.65}


@dataclasses.dataclass(frozen=True)
class Scan:
    """One scan of the folder.

    Attributes:
        name: name of its folder and of its row in scans.csv.
        imaging: path of the scan; the file may be missing.
        kidney: path of the reference kidneys, or None.
        facts: its row of scans.csv, from column to text; {} if it has none.
    """

    name: str
    imaging: pathlib.Path
    kidney: pathlib.Path | None
    facts: dict[str, str]

    @property
    def split(self) -> str:
        """One of SPLITS."""
        return "validation" if self.name in VALIDATION else "test" if self.name in TEST else "other"

    @property
    def phase(self) -> str:
        """The contrast phase in scans.csv; empty if unknown."""
        return self.facts.get("phase", "")

    @property
    def group(self) -> str:
        """One of GROUPS."""
        return group_of(self.phase)

    @property
    def scanner(self) -> str:
        """The `scanner` column, or else the first remark that names a manufacturer."""
        remarks = self.facts.get("remarks", "").split(";")
        named = [remark.strip() for remark in remarks if MAKERS.search(remark)]
        return self.facts.get("scanner") or (named[0] if named else "")

    @property
    def without_kidneys(self) -> bool:
        """Whether scans.csv states that no kidney is in view."""
        try:
            return float(self.facts.get("kidneys_ml", "")) == 0
        except ValueError:
            return self.facts.get("reference", "").startswith("none needed")


def group_of(phase: str) -> str:
    """Returns the group (one of GROUPS) of a phase; all contrast-enhanced phases are one group."""
    phase = phase.strip().lower()
    if phase in ("", "unknown", "?"):
        return UNKNOWN
    return NON_CONTRAST if phase.startswith(WITHOUT_CONTRAST) else CONTRAST


def split_of_case(name: str) -> str:
    """Returns the split of a tumor slice by its case number, 25 in case_00025_060; "other" for other names."""
    found = re.match(r"case_(\d+)", name)
    if not found:
        return "other"
    return "validation" if int(found[1]) <= LAST_VALIDATION_CASE else "test"


def find_scans(folder: str | pathlib.Path) -> list[Scan]:
    """Finds all scans of a folder: those of the table in its order, then the others.

    A row of the table without a folder gives a Scan whose imaging file is missing.

    Raises:
        InputError: if the folder is missing or holds no scan, or the table cannot be read.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, --scans expects one with <name>/imaging.nii.gz")
    rows = _rows(folder / TABLE)
    there = {path.name for path in folder.iterdir() if path.is_dir() and _file(path, "imaging")}
    names = [*rows, *sorted(there - rows.keys())]
    if not names:
        raise InputError(f"{folder}: no scans here, expected <name>/imaging.nii.gz")
    return [Scan(name, _file(folder / name, "imaging") or folder / name / f"imaging{ENDINGS[0]}",
                 _file(folder / name, "kidney"), rows.get(name, {})) for name in names]


def _file(folder, name):
    return next((folder / f"{name}{ending}" for ending in ENDINGS if (folder / f"{name}{ending}").exists()), None)


def _rows(path):
    """Reads {name: {column: text}} from the table; {} if there is none."""
    if not path.exists():
        return {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            rows = [{column: (text or "").strip() for column, text in row.items() if isinstance(column, str)}
                    for row in csv.DictReader(stream)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error})") from error
    if rows and "name" not in rows[0]:
        raise InputError(f"{path}: has no column name, expected one row per scan")
    return {row["name"]: row for row in rows if row["name"]}
