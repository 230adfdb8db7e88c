"""What each shard was written from: manifest.json of a stage, kept beside its shards.

A shard is fresh if its sources, its settings and its own bytes are those the manifest names.
"""

import json

from kits_tf.io import dataset
from kits_tf.io.files import file_facts, write_text
from kits_tf.volume import InputError


def sources(case):
    """The facts of the files a case is read from."""
    return {"imaging": file_facts(case.imaging),
            "segmentation": case.segmentation and file_facts(case.segmentation)}


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
