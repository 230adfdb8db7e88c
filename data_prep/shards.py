"""One case of a study, prepared as far as it is not yet: the work that is given to workers. Light until there is some.
"""

import pathlib

from data_prep.manifest import read_note, sources, stands
from kits_tf import lazy
from kits_tf.config import CascadeConfig
from kits_tf.errors import InputError
from kits_tf.heap import keep_freed_memory
from kits_tf.records import dataset
from kits_tf.scans.discovery import Case


def prepare_case(case: Case, data_dir: str | pathlib.Path, entries: dict[str, dict | None],
                 config: CascadeConfig) -> dict:
    """Writes those of a case's shards that do not stand.

    Args:
        case: kits_tf.scans.discovery.Case.
        data_dir: folder to write to.
        entries: stage to what its manifest has on the case, or None; a note that was left since then counts more.
        config: CascadeConfig.

    Returns:
        dict: `status` is "done", "redone" if one of the shards that were due had been written before, or "unchanged" if
            all stood; `warnings` are lines about a case that was read.

    Raises:
        InputError: if the case cannot be used. No shard is there then that does not stand.
        RunError: if the disk is full.
    """
    try:
        case.check_single()
        found = sources(case)
    except InputError:
        _remove(data_dir, entries, case.name)
        raise
    due, status = [], "done"
    for stage, entry in entries.items():
        entry = read_note(data_dir, stage, case.name, config.record_settings(stage)) or entry
        if not stands(data_dir, stage, case.name, entry, found):
            due.append(stage)
            if "shard" in (entry or {}) or dataset.shard_path(data_dir, stage, case.name).exists():
                status = "redone"
    if not due:
        return {"status": "unchanged", "warnings": ()}
    _remove(data_dir, due, case.name)
    keep_freed_memory()  # every case asks for the same again
    warnings = lazy.load("data_prep.examples").write_shards(case, data_dir, due, config, found)
    return {"status": status, "warnings": warnings}


def _remove(data_dir, stages, name):
    for stage in stages:
        dataset.shard_path(data_dir, stage, name).unlink(missing_ok=True)
