"""Layout of a prepared data folder: shards by stage and case, and the folds.

    DATA/folds.json                            five disjoint lists of case ids, drawn with a seed; and where cases were
                                               that have left
    DATA/records/<stage>/<case>.tfrecord       the examples of one case for one stage
    DATA/records/<stage>/manifest.json         sources, settings and checksum of each shard

data_prep writes it; training reads it.
"""

import hashlib
import json
import pathlib
from collections.abc import Collection, Iterable

from kits_tf.config import CascadeConfig
from kits_tf.errors import InputError
from kits_tf.scans.discovery import check_name

FOLDS = 5


def shard_path(data_dir: str | pathlib.Path, stage: str, case: str) -> pathlib.Path:
    """Returns the path of one case's shard for one stage. Raises InputError if check_name refuses the case's name."""
    check_name(case, manifest_path(data_dir, stage))
    return pathlib.Path(data_dir) / "records" / stage / f"{case}.tfrecord"


def manifest_path(data_dir: str | pathlib.Path, stage: str) -> pathlib.Path:
    """Returns the path of a stage's manifest, which lists sources and settings of its shards."""
    return pathlib.Path(data_dir) / "records" / stage / "manifest.json"


def folds_path(data_dir: str | pathlib.Path) -> pathlib.Path:
    """Returns the path of the file that assigns each case to a fold."""
    return pathlib.Path(data_dir) / "folds.json"


def read_manifest(data_dir: str | pathlib.Path, stage: str) -> dict | None:
    """Reads a stage's manifest as a dict with `settings` and `cases`; None if there is none.

    Raises:
        InputError: if it cannot be read, or if check_name refuses the name of a case in it.
    """
    path = manifest_path(data_dir, stage)
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        known = {"settings": manifest["settings"], "cases": {
            name: dict(entry) for name, entry in dict(manifest["cases"]).items()}}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); rerun python -m data_prep to rewrite it") from error
    for name in known["cases"]:
        check_name(name, path)
    return known


def deal_folds(names: Iterable[str], seed: int, places: dict[str, int] | None = None) -> list[list[str]]:
    """Splits case names into five disjoint sorted lists; reproducible by seed.

    Without `places` the sizes differ by at most one.

    Args:
        names: the cases.
        seed: ranks the cases that are dealt.
        places: the folds of cases that were dealt before, which stay. The others go to the smallest folds in turn.
    """
    names, places = set(names), places or {}
    folds = [[name for name in names if places.get(name) == fold] for fold in range(FOLDS)]
    for name in sorted(names - set(places), key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).hexdigest()):
        min(folds, key=len).append(name)
    return [sorted(fold) for fold in folds]


def update_folds(data_dir: str | pathlib.Path, names: Collection[str], seed: int | None = None) -> dict:
    """Returns the new content of folds.json for the cases of a study.

    A case that was dealt keeps its fold for good, even if it leaves and returns, so that no net of a fold has seen the
    validation cases of another. New cases go to the smallest folds.

    Args:
        data_dir: the prepared folder.
        names: the cases of the study.
        seed: ranks the cases; None for that of the folder, or 0.

    Raises:
        InputError: if the cases were dealt with another seed, or the file cannot be read.
    """
    path, known = folds_path(data_dir), {}
    if path.exists():
        known = _read_folds(path)
        if seed is not None and known.get("seed", seed) != seed:
            raise InputError(f"{path}: the cases were dealt with --seed={known['seed']}, and folds do not change; give "
                             f"that seed or none, or another --output for folds of --seed={seed}")
    seed = known.get("seed", seed or 0)
    places = {case: fold for fold, cases in enumerate(known.get("folds", ())) for case in cases}
    places |= known.get("left", {})
    left = {case: places[case] for case in sorted(set(places) - set(names))}
    return {"seed": seed, "folds": deal_folds(names, seed, places), "left": left}


def _read_folds(path):
    """Reads folds.json as a dict with `folds` and perhaps `seed` and `left`; checks that the folds are disjoint."""
    remedy = "put it back from a copy, or delete it: python -m data_prep then deals the cases again"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        known["folds"] = [set(names) for names in known["folds"]]
        known["left"] = {name: int(fold) for name, fold in known.get("left", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {remedy}") from error
    for case in set().union(*known["folds"]):
        if sum(case in fold for fold in known["folds"]) > 1:
            raise InputError(f"{path}: has {case} in two folds; {remedy}")
    return known


def read_folds(data_dir: str | pathlib.Path) -> list[set[str]]:
    """Reads the five sets of case ids.

    Raises:
        InputError: if the file is missing or cannot be read, or if a case is in two folds.
    """
    return _read_folds(folds_path(data_dir))["folds"]


def scan_of(entry: dict) -> str | None:
    """Returns the SHA-256 of the scan that a case was prepared from, from its manifest entry; None if unknown."""
    return ((entry.get("sources") or {}).get("imaging") or {}).get("sha256")


def split(data_dir: str | pathlib.Path, stage: str, fold: int,
          config: CascadeConfig) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Returns the shards of the training set and of the validation set.

    Args:
        data_dir: the prepared folder.
        stage: one of config.STAGES.
        fold: 0 to 4.
        config: CascadeConfig; the shards must have its record settings.

    Returns:
        (train, held_out): two lists of paths, sorted by case; `held_out` is the validation set, the cases of `fold`.

    Raises:
        InputError: if there are no records, if they have other settings or several label maps, if the fold does not
            exist, if a case is in no fold, or if either list would be empty.
    """
    command = f"python -m data_prep --input=STUDY --output={data_dir} --preset={config.preset} --stage={stage}"
    manifest = read_manifest(data_dir, stage)
    if manifest is None:
        raise InputError(f"{data_dir}: no {stage} records; make them with: {command}")
    if manifest["settings"] != config.record_settings(stage):
        raise InputError(f"{manifest_path(data_dir, stage)}: the {stage} records were made with other settings than "
                         f"preset {config.preset}'s; give the --preset and --set that they were made with, or make "
                         f"others with: {command.replace(f'--output={data_dir}', '--output=OTHER')}")
    maps = {str((entry.get("sources") or {}).get("labels", "kidney:1,tumor:2"))
            for entry in manifest["cases"].values() if entry.get("records")}
    if len(maps) > 1:
        raise InputError(f"{manifest_path(data_dir, stage)}: label values had different meanings when its cases were "
                         f"prepared ({' and '.join(sorted(maps))}); rerun python -m data_prep as it was started last")
    folds = read_folds(data_dir)
    if fold not in range(len(folds)):
        raise InputError(f"{data_dir}: has folds 0 to {len(folds) - 1}, but no fold {fold}")
    written = {case for case, entry in manifest["cases"].items() if entry.get("records")}
    astray = sorted(written.difference(*folds))
    if astray:
        raise InputError(f"{folds_path(data_dir)}: {astray[0]} is in no fold; assign it with: {command}")
    held_out = sorted(written & folds[fold])
    train = sorted(written - folds[fold])
    if not train or not held_out:
        raise InputError(f"{data_dir}: fold {fold} has {len(train)} training cases and {len(held_out)} validation "
                         f"cases; expected at least one of each: prepare {FOLDS} cases or more, or choose another "
                         f"--fold")
    return [shard_path(data_dir, stage, case) for case in train], [
        shard_path(data_dir, stage, case) for case in held_out]
