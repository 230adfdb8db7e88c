"""What each shard was written from: manifest.json of a stage, kept beside its shards.

A shard stands if its sources, its settings and its own bytes are those the manifest names. Who writes a shard leaves a
note of it in records/<stage>/.done; the run enters the notes in the manifest, from time to time and at its end. So a
run that is killed loses nothing: the next one finds its notes.
"""

import contextlib
import json
import pathlib
from collections.abc import Collection

from kits_tf.config import CascadeConfig
from kits_tf.errors import InputError
from kits_tf.files.atomic import sweep, write_text
from kits_tf.files.checksums import file_facts
from kits_tf.records import dataset
from kits_tf.scans.discovery import Case


def sources(case: Case) -> dict:
    """The facts of the files a case is read from. Raises InputError if one is there but cannot be read."""
    return {"imaging": file_facts(case.imaging),
            "segmentation": case.segmentation and file_facts(case.segmentation)}


def stands(data_dir: str | pathlib.Path, stage: str, name: str, entry: dict | None, found: dict) -> bool:
    """Whether a case's shard is there, as its entry in the manifest has it, and was written from these sources."""
    if not entry or entry.get("sources") != found or "shard" not in entry:
        return False
    return entry["shard"] == file_facts(dataset.shard_path(data_dir, stage, name))


def _note_path(data_dir, stage, name):
    return dataset.shard_path(data_dir, stage, name).parent / ".done" / f"{name}.json"


def write_note(data_dir: str | pathlib.Path, stage: str, name: str, settings: dict, found: dict, records: int) -> None:
    """Notes a shard that was just written.

    Args:
        data_dir, stage, name: whose shard.
        settings: config.record_settings(stage).
        found: its `sources`.
        records: how many examples it holds.
    """
    entry = {"sources": found, "records": records, "shard": file_facts(dataset.shard_path(data_dir, stage, name))}
    write_text(_note_path(data_dir, stage, name), json.dumps({"settings": settings, "entry": entry}))


def read_note(data_dir: str | pathlib.Path, stage: str, name: str, settings: dict) -> dict | None:
    """The entry that is noted of a case's shard under these settings, or None."""
    try:
        note = json.loads(_note_path(data_dir, stage, name).read_text(encoding="utf-8"))
        return dict(note["entry"]) if note["settings"] == settings else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Manifest:
    """A stage's manifest. Only for who holds the data folder (kits_tf.files.lock).

    Args:
        data_dir: the prepared folder.
        stage: one of config.STAGES.
        config: CascadeConfig; entries made under other record settings are forgotten, as is a file that cannot be read.
    """

    def __init__(self, data_dir: str | pathlib.Path, stage: str, config: CascadeConfig) -> None:
        self.data_dir, self.stage = data_dir, stage
        self.settings = config.record_settings(stage)
        try:
            known = dataset.read_manifest(data_dir, stage)
        except InputError:  # says to write it anew, which is what happens here
            known = None
        self.cases = known["cases"] if known is not None and known["settings"] == self.settings else {}
        self._notes = dataset.manifest_path(data_dir, stage).parent / ".done"
        self.sweep()
        self.enter_all()

    def sweep(self) -> None:
        """Removes what killed workers left half-written; for a time when none is at work."""
        for folder in (self._notes.parent, self._notes):
            sweep(folder)

    def enter_all(self) -> None:
        """Takes over all notes."""
        for path in self._notes.glob("*.json"):
            self.enter(path.stem)

    def enter(self, name: str) -> None:
        """Takes over what is noted of a case's shard, if anything is."""
        entry = read_note(self.data_dir, self.stage, name, self.settings)
        if entry is not None:
            self.cases[name] = entry

    def failed(self, case: Case, message: str) -> None:
        """Enters that a case cannot be used, unless its shard was written all the same."""
        self.enter(case.name)
        if dataset.shard_path(self.data_dir, self.stage, case.name).exists():
            return
        try:
            found = sources(case)
        except InputError:
            found = {}
        self.cases[case.name] = {"sources": found, "failure": message}

    def keep_only(self, names: Collection[str]) -> None:
        """Forgets cases that the study no longer has, with their shards."""
        for name in set(self.cases) - set(names):
            dataset.shard_path(self.data_dir, self.stage, name).unlink(missing_ok=True)
            del self.cases[name]
        self.save()

    def save(self) -> None:
        """Writes the file, whole or not at all; the notes of what it holds have then done their duty."""
        text = json.dumps({"settings": self.settings, "cases": dict(sorted(self.cases.items()))}, indent=1)
        write_text(dataset.manifest_path(self.data_dir, self.stage), text + "\n")
        for path in self._notes.glob("*.json"):
            if self.cases.get(path.stem) == read_note(self.data_dir, self.stage, path.stem, self.settings):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Takes over what is left and saves; the folder of notes goes, unless one came too late."""
        self.enter_all()
        self.save()
        with contextlib.suppress(OSError):
            self._notes.rmdir()
