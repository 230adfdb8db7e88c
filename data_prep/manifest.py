"""Reads and writes manifest.json of a stage, which records the sources and settings of each shard.

A shard is up to date if its sources, its settings and its own bytes match the manifest. The process that writes a shard
also writes a note to records/<stage>/.done. The run merges the notes into the manifest periodically and at its end, so
a killed run loses nothing: the next run reads its notes.
"""

import contextlib
import json
import pathlib
from collections.abc import Collection

from kits_tf import lazy
from kits_tf.config import CascadeConfig
from kits_tf.errors import InputError
from kits_tf.files.atomic import sweep, write_text
from kits_tf.files.checksums import file_facts
from kits_tf.records import dataset
from kits_tf.scans.discovery import Case
from kits_tf.scans.label_map import KITS19


def sources(case: Case) -> dict:
    """Returns what a case's records are made of: facts of its files and, if it is not KiTS19's, its label map.

    The facts are those of scans.formats.facts_of and files.checksums.file_facts; None for a missing segmentation.

    Raises:
        InputError: if a file exists but cannot be read.
    """
    facts_of = lazy.load("kits_tf.scans.formats").facts_of  # it imports nibabel, which --help does not need
    found: dict = {"imaging": facts_of(case), "segmentation": case.segmentation and file_facts(case.segmentation)}
    return found | ({"labels": str(case.labels)} if case.labels != KITS19 else {})


def is_up_to_date(data_dir: str | pathlib.Path, stage: str, name: str, entry: dict | None, found: dict) -> bool:
    """Returns whether a case's shard is up to date: it exists, matches its manifest entry and has these sources."""
    if not entry or entry.get("sources") != found or "shard" not in entry:
        return False
    return entry["shard"] == file_facts(dataset.shard_path(data_dir, stage, name))


def _note_path(data_dir, stage, name):
    return dataset.shard_path(data_dir, stage, name).parent / ".done" / f"{name}.json"


def write_note(data_dir: str | pathlib.Path, stage: str, name: str, settings: dict, found: dict, records: int) -> None:
    """Writes the note of a shard that was just written.

    Args:
        data_dir, stage, name: folder, stage and case name of the shard.
        settings: config.record_settings(stage).
        found: the case's `sources`.
        records: number of examples in the shard.
    """
    entry = {"sources": found, "records": records, "shard": file_facts(dataset.shard_path(data_dir, stage, name))}
    write_text(_note_path(data_dir, stage, name), json.dumps({"settings": settings, "entry": entry}))


def read_note(data_dir: str | pathlib.Path, stage: str, name: str, settings: dict) -> dict | None:
    """Returns the manifest entry in the note of a case's shard; None if there is no note with these settings."""
    try:
        note = json.loads(_note_path(data_dir, stage, name).read_text(encoding="utf-8"))
        return dict(note["entry"]) if note["settings"] == settings else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget(data_dir: str | pathlib.Path, stage: str, names: Collection[str]) -> None:
    """Deletes the shards of some cases and their entries in the manifest, if there are any."""
    path = dataset.manifest_path(data_dir, stage)
    for name in names:
        dataset.shard_path(data_dir, stage, name).unlink(missing_ok=True)
        _note_path(data_dir, stage, name).unlink(missing_ok=True)
    with contextlib.suppress(InputError):  # a manifest that cannot be read is written again
        known = dataset.read_manifest(data_dir, stage)
        cases = {name: entry for name, entry in known["cases"].items() if name not in names} if known else {}
        if cases:
            write_text(path, json.dumps({**(known or {}), "cases": cases}, indent=1) + "\n")
        elif names:
            path.unlink(missing_ok=True)


class Manifest:
    """The manifest of one stage. Create it only while holding the lock of the data folder (kits_tf.files.lock).

    Args:
        data_dir: the prepared folder.
        stage: one of config.STAGES.
        config: CascadeConfig. A manifest with other record settings, or one that cannot be read, counts as empty.
    """

    def __init__(self, data_dir: str | pathlib.Path, stage: str, config: CascadeConfig) -> None:
        self.data_dir, self.stage = data_dir, stage
        self.settings = config.record_settings(stage)
        try:
            known = dataset.read_manifest(data_dir, stage)
        except InputError:  # the message asks to rewrite the file, which is done here
            known = None
        self.cases = known["cases"] if known is not None and known["settings"] == self.settings else {}
        self._notes = dataset.manifest_path(data_dir, stage).parent / ".done"
        self.sweep()
        self.enter_all()

    def sweep(self) -> None:
        """Removes partly written files of killed workers. Call it only while no worker is running."""
        for folder in (self._notes.parent, self._notes):
            sweep(folder)

    def enter_all(self) -> None:
        """Merges all notes into the manifest."""
        for path in self._notes.glob("*.json"):
            self.enter(path.stem)

    def enter(self, name: str) -> None:
        """Merges the note of a case's shard into the manifest, if there is one."""
        entry = read_note(self.data_dir, self.stage, name, self.settings)
        if entry is not None:
            self.cases[name] = entry

    def failed(self, case: Case, message: str) -> None:
        """Records that a case cannot be used, unless its shard exists."""
        self.enter(case.name)
        if dataset.shard_path(self.data_dir, self.stage, case.name).exists():
            return
        try:
            found = sources(case)
        except InputError:
            found = {}
        self.cases[case.name] = {"sources": found, "failure": message}

    def keep_only(self, names: Collection[str]) -> None:
        """Removes the entries of all other cases, which have no shards (conflicts.py), then saves."""
        for name in set(self.cases) - set(names):
            del self.cases[name]
        self.save()

    def save(self) -> None:
        """Writes the manifest file atomically and deletes the notes it contains."""
        text = json.dumps({"settings": self.settings, "cases": dict(sorted(self.cases.items()))}, indent=1)
        write_text(dataset.manifest_path(self.data_dir, self.stage), text + "\n")
        for path in self._notes.glob("*.json"):
            if self.cases.get(path.stem) == read_note(self.data_dir, self.stage, path.stem, self.settings):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Merges the remaining notes, saves, and removes the folder of notes if it is empty."""
        self.enter_all()
        self.save()
        with contextlib.suppress(OSError):
            self._notes.rmdir()
