"""What each shard was written from: manifest.json of a stage, kept beside its shards.

A shard is fresh if its sources, its settings and its own bytes are those the manifest names.
"""

import hashlib
import json

from kits_tf.io import dataset
from kits_tf.io.files import write_text
from kits_tf.volume import InputError


def file_facts(path):
    """Size and SHA-256 of a file, or None if it is not there."""
    if path is None or not path.is_file():
        return None
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def sources(case):
    """The facts of the files a case is read from."""
    return {"imaging": file_facts(case.imaging), "segmentation": file_facts(case.segmentation)}


class Manifest:
    """A stage's manifest, written anew after every case.

    Args:
        data_dir: the prepared folder.
        stage: one of config.STAGES.
        config: CascadeConfig; entries made under other record settings are forgotten, as is a file that cannot be read.
    """

    def __init__(self, data_dir, stage, config):
        self.data_dir, self.stage = data_dir, stage
        self.settings = config.record_settings(stage)
        try:
            known = dataset.read_manifest(data_dir, stage)
        except InputError:  # says to write it anew, which is what happens here
            known = None
        same = known is not None and known["settings"] == self.settings
        self.cases = known["cases"] if same else {}

    def is_fresh(self, name, found):
        """Whether a case's shard is there, undamaged, and was written from these sources."""
        entry = self.cases.get(name, {})
        if entry.get("sources") != found or "shard" not in entry:
            return False
        return entry["shard"] == file_facts(dataset.shard_path(self.data_dir, self.stage, name))

    def done(self, name, found, records):
        """Notes a shard that was just written."""
        shard = file_facts(dataset.shard_path(self.data_dir, self.stage, name))
        self.cases[name] = {"sources": found, "records": records, "shard": shard}
        self.save()

    def failed(self, name, found, message):
        """Notes a case that cannot be used; a shard from before goes."""
        dataset.shard_path(self.data_dir, self.stage, name).unlink(missing_ok=True)
        self.cases[name] = {"sources": found, "failure": message}
        self.save()

    def keep_only(self, names):
        """Forgets cases that the study no longer has, with their shards."""
        for name in set(self.cases) - set(names):
            dataset.shard_path(self.data_dir, self.stage, name).unlink(missing_ok=True)
            del self.cases[name]
        self.save()

    def save(self):
        """Writes the file, whole or not at all."""
        text = json.dumps({"settings": self.settings, "cases": dict(sorted(self.cases.items()))}, indent=1)
        write_text(dataset.manifest_path(self.data_dir, self.stage), text + "\n")


def check(data_dir, stage):
    """Holds a stage's shards against its manifest; reads only.

    Returns:
        A line for each shard that is missing, damaged, or was never written; none if all is well.

    Raises:
        InputError: if there is no manifest.
    """
    known = dataset.read_manifest(data_dir, stage)
    if known is None:
        raise InputError(f"{dataset.manifest_path(data_dir, stage)}: no such file, expected prepared {stage} records")
    wrong = []
    for name, entry in sorted(known["cases"].items()):
        path = dataset.shard_path(data_dir, stage, name)
        if "failure" in entry:
            wrong.append(f"{name}: was not prepared: {entry['failure']}")
        elif (facts := file_facts(path)) is None:
            wrong.append(f"{path}: is missing")
        elif facts != entry["shard"]:
            wrong.append(f"{path}: is damaged, {facts['bytes']} bytes with another checksum than when it was written "
                         f"({entry['shard']['bytes']} bytes)")
    return wrong
