"""Checks that the shards of a data folder are unchanged since data_prep wrote them.

The manifest has the size and the SHA-256 of every shard. TFRecord's own checksums cover single records only: a shard
that is cut between two records, or in which records are swapped or missing, reads without an error. The hash detects
this. Training hashes its shards once, before it reads them; it reads each shard at that point anyway, to count its
examples. One core hashes about 1 GB/s, and several shards are hashed at a time. TFRecord's checksums detect damage that
occurs later.
"""

import concurrent.futures
import functools
import os
import pathlib
import sys
from collections.abc import Iterable

import tqdm

from kits_tf.errors import InputError, few
from kits_tf.files.checksums import file_facts
from kits_tf.quiet import no_bar
from kits_tf.records import dataset

THREADS = min(8, os.cpu_count() or 1)  # hashing releases Python's lock; more threads only make a disk seek


@functools.cache
def _facts(path, _):
    """Caches file_facts by path and modification time, because the five folds share their shards."""
    return file_facts(path)


def _damage(path, written):
    """Returns a line that names a shard and what is wrong with it, or None."""
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
    return None if found == written else f"{path}: is damaged, its checksum differs from the one in the manifest"


def damages(data_dir: str | pathlib.Path, stage: str, entries: dict[str, dict]) -> list[str]:
    """Hashes shards and compares them with the manifest, with a progress bar if stderr is a terminal.

    Args:
        data_dir: the prepared folder.
        stage: one of config.STAGES.
        entries: the manifest's `cases`, or some of them; cases that failed have no shard and are skipped.

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


def verify(data_dir: str | pathlib.Path, stage: str, cases: Iterable[str]) -> dict[str, dict]:
    """Checks the shards of some cases against the manifest, before they are read; returns their entries in it.

    Raises:
        InputError: if a shard is missing or damaged; the message names the first one and counts the others.
    """
    manifest = dataset.read_manifest(data_dir, stage) or {"cases": {}}
    entries = {case: manifest["cases"].get(case, {}) for case in cases}
    lines = damages(data_dir, stage, entries)
    if lines:
        raise InputError(f"{few(lines, 1)}; rerun the data_prep command that made them to rewrite damaged shards "
                         f"(python -m data_prep --output={data_dir} --check lists them)")
    return entries


def stamps(paths: Iterable[pathlib.Path]) -> dict[pathlib.Path, tuple[int, int] | None]:
    """Returns time of modification (ns) and size of each shard; None for one that is missing."""
    found = {}
    for path in paths:
        stat = path.stat() if path.is_file() else None
        found[path] = stat and (stat.st_mtime_ns, stat.st_size)
    return found


def strays(data_dir: str | pathlib.Path, stage: str, entries: dict[str, dict]) -> list[str]:
    """Returns a line for each shard on disk that is not in the manifest, or whose case failed according to it."""
    known = {dataset.shard_path(data_dir, stage, name) for name, entry in entries.items() if "failure" not in entry}
    folder = dataset.manifest_path(data_dir, stage).parent
    return [f"{path}: is in no manifest ({'left by an interrupted run' if path.name[0] == '.' else 'an orphan'})"
            for path in sorted(folder.glob("*.tfrecord")) if path not in known]
