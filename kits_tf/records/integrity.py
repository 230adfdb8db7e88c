"""Whether the shards of a data folder are the bytes that data_prep wrote.

The manifest holds the size and the SHA-256 of every shard. TFRecord's own checksums cover single records, so that a
shard cut between two records, with two swapped or one taken out reads as if it were whole: only the hash shows it.
Training hashes what it is about to read, once, before it reads: each shard is then read anyway, to count its examples,
and one core hashes about 1 GB/s, several shards at a time. What changes later is found by TFRecord's checksums.
"""

import concurrent.futures
import functools
import os
import pathlib
import sys
from collections.abc import Iterable

import tqdm

from kits_tf.errors import InputError
from kits_tf.files.checksums import file_facts
from kits_tf.quiet import no_bar
from kits_tf.records import dataset

THREADS = min(8, os.cpu_count() or 1)  # hashing lets go of Python's lock; more than this only makes a disk seek


@functools.cache
def _facts(path, _):
    """file_facts, once per process for a file that was not written since: five folds share their shards."""
    return file_facts(path)


def _damage(path, written):
    """What is wrong with a shard, as a line that names it, or None."""
    try:
        found = _facts(path, path.stat().st_mtime_ns) if path.is_file() else None
    except InputError as error:
        return str(error)
    if found is None:
        return f"{path}: is missing"
    if not written:
        return f"{path}: has no checksum in its manifest"
    if found["bytes"] != written.get("bytes"):
        return f"{path}: is damaged, it has {found['bytes']} bytes and had {written.get('bytes')} when it was written"
    return None if found == written else f"{path}: is damaged, its bytes are not those that were written"


def damages(data_dir: str | pathlib.Path, stage: str, entries: dict[str, dict]) -> list[str]:
    """Hashes shards, with a progress bar where a terminal watches.

    Args:
        data_dir: the prepared folder.
        stage: one of config.STAGES.
        entries: the manifest's `cases`, or some of them; those that failed have no shard and are passed over.

    Returns:
        A line for each shard that is missing, damaged or cannot be read, sorted by case.
    """
    written = {dataset.shard_path(data_dir, stage, name): dict(entry.get("shard") or {})
               for name, entry in sorted(entries.items()) if "failure" not in entry}
    found = []
    with (concurrent.futures.ThreadPoolExecutor(THREADS) as pool,
          tqdm.tqdm(total=sum(facts.get("bytes", 0) for facts in written.values()), desc=f"checking {stage}",
                    unit="B", unit_scale=True, leave=False, file=sys.stderr, disable=no_bar()) as bar):
        for line, facts in zip(pool.map(_damage, written, written.values()), written.values(), strict=True):
            found.append(line)
            bar.update(facts.get("bytes", 0))
    return [line for line in found if line]


def verify(data_dir: str | pathlib.Path, stage: str, cases: Iterable[str]) -> None:
    """Holds the shards of some cases against the manifest, before they are read.

    Raises:
        InputError: if one is missing or damaged; its message names the first and counts the others.
    """
    manifest = dataset.read_manifest(data_dir, stage) or {"cases": {}}
    lines = damages(data_dir, stage, {case: manifest["cases"].get(case, {}) for case in cases})
    if lines:
        more = f" (and {len(lines) - 1} more shards)" if len(lines) > 1 else ""
        raise InputError(f"{lines[0]}{more}; python -m data_prep --output={data_dir} --check names all, and the "
                         f"command that prepared them writes what is damaged anew")


def strays(data_dir: str | pathlib.Path, stage: str, entries: dict[str, dict]) -> list[str]:
    """A line for each shard that the manifest does not know, or says could not be made."""
    known = {dataset.shard_path(data_dir, stage, name) for name, entry in entries.items() if "failure" not in entry}
    folder = dataset.manifest_path(data_dir, stage).parent
    return [f"{path}: is in no manifest ({'left by an interrupted run' if path.name[0] == '.' else 'an orphan'})"
            for path in sorted(folder.glob("*.tfrecord")) if path not in known]
