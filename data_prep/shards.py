"""Prepares one case of a study, skipping shards that are up to date. Runs in the workers.

TensorFlow is imported only if a shard must be written.
"""

import pathlib

from data_prep.manifest import is_up_to_date, read_note, sources
from kits_tf import lazy
from kits_tf.config import CascadeConfig
from kits_tf.errors import InputError
from kits_tf.heap import keep_freed_memory
from kits_tf.records import dataset
from kits_tf.scans.discovery import Case


def prepare_case(case: Case, data_dir: str | pathlib.Path, entries: dict[str, dict | None],
                 config: CascadeConfig) -> dict:
    """Writes the shards of a case that are not up to date.

    Args:
        case: kits_tf.scans.discovery.Case.
        data_dir: folder to write to.
        entries: stage to the manifest entry of the case, or None. A note written since then takes precedence.
        config: CascadeConfig.

    Returns:
        dict with `status` and `warnings`. `status` is "unchanged" if all shards were up to date, "redone" if at least
        one written shard replaces an earlier one, else "done". `warnings` are lines about the case, if it was read.

    Raises:
        InputError: if the case cannot be used. Its outdated shards of these stages are then deleted, unless a file is
            missing or cannot be read: a disk may be away, and the shards are then all that there is of the case.
        RunError: if the disk is full.
    """
    try:
        case.check_single()
    except InputError:
        _remove(data_dir, entries, case.name)
        raise
    found = sources(case)
    due, status = [], "done"
    for stage, entry in entries.items():
        entry = read_note(data_dir, stage, case.name, config.record_settings(stage)) or entry
        if not is_up_to_date(data_dir, stage, case.name, entry, found):
            due.append(stage)
            if "shard" in (entry or {}) or dataset.shard_path(data_dir, stage, case.name).exists():
                status = "redone"
    if not due:
        return {"status": "unchanged", "warnings": ()}
    if None not in found.values():
        _remove(data_dir, due, case.name)
    keep_freed_memory()  # every case allocates blocks of similar size
    warnings = lazy.load("data_prep.examples").write_shards(case, data_dir, due, config, found)
    return {"status": status, "warnings": warnings}


def _remove(data_dir, stages, name):
    for stage in stages:
        dataset.shard_path(data_dir, stage, name).unlink(missing_ok=True)
