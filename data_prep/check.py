"""Checks a prepared data folder against its manifests, and against the study if one is given. Writes nothing."""

import pathlib
import sys

from data_prep.manifest import sources
from kits_tf.config import STAGES, CascadeConfig
from kits_tf.errors import InputError
from kits_tf.records import dataset, integrity
from kits_tf.scans.layouts import Given, find_cases

WHOLE, DAMAGED = 0, 2  # exit status; 1 means, as in every command, that nothing could be checked


def check_data(data_dir: str | pathlib.Path, stage: str = "all", config: CascadeConfig | None = None,
               study: Given | None = None) -> int:
    """Prints the lines of `problems` and a summary to stderr; returns the exit status, WHOLE or DAMAGED.

    Args and errors are those of `problems`.
    """
    lines, checked = problems(data_dir, stage, config, study)
    for line in lines:
        print(line, file=sys.stderr)
    verdict = f"{len(lines)} problems" if lines else f"all {sum(checked.values())} shards are whole"
    print(f"{data_dir}: {verdict} ({', '.join(checked)})", file=sys.stderr)
    return DAMAGED if lines else WHOLE


def problems(data_dir: str | pathlib.Path, stage: str = "all", config: CascadeConfig | None = None,
             study: Given | None = None) -> tuple[list[str], dict[str, int]]:
    """Finds shards that are damaged, missing, stale or orphans.

    Args:
        data_dir: the prepared folder.
        stage: one of config.STAGES, or "all" for every prepared stage.
        config: CascadeConfig whose record settings the shards must have; None accepts any.
        study: data set (or its path) from whose files the shards must have been written; None accepts any.

    Returns:
        (lines, checked): one line for each problem, and the number of shards checked in each stage.

    Raises:
        InputError: if the folder holds no records of the stage, or the study does not exist.
    """
    there = [name for name in STAGES if dataset.manifest_path(data_dir, name).parent.is_dir()]
    wanted = [name for name in there if stage in (name, "all")]
    if not wanted:
        raise InputError(f"{data_dir}: contains no {'' if stage == 'all' else stage + ' '}records to check; make them "
                         f"with: python -m data_prep --input=STUDY --output={data_dir}")
    found = study and {case.name: sources(case) for case in find_cases(study, labeled=True).cases}
    lines, checked = [], {}
    for name in wanted:
        wrong, checked[name] = _check_stage(data_dir, name, config, found)
        lines += wrong
    if stage == "all":
        lines += _strange_folders(data_dir)
    return lines, checked


def _check_stage(data_dir, stage, config, study):
    """Checks one stage: returns (lines, number of shards)."""
    path = dataset.manifest_path(data_dir, stage)
    try:
        known = dataset.read_manifest(data_dir, stage)
        if known is None:
            raise InputError(f"{path}: is missing")
    except InputError as error:
        return [str(error), *integrity.strays(data_dir, stage, {})], 0
    entries = known["cases"]
    lines = [f"{name}: was not prepared for {stage}: {entry['failure']}"
             for name, entry in sorted(entries.items()) if "failure" in entry]
    if config is not None and known["settings"] != config.record_settings(stage):
        lines.append(f"{path}: is stale, made with other settings than those of preset {config.preset}")
    lines += _folds_lines(data_dir, stage, entries)
    lines += integrity.damages(data_dir, stage, entries)
    lines += integrity.strays(data_dir, stage, entries)
    if study is not None:
        lines += _stale(data_dir, stage, entries, study)
    return lines, sum("failure" not in entry for entry in entries.values())


def _folds_lines(data_dir, stage, entries):
    """Returns one line for each case that is in the folds or in the manifest but not in both."""
    try:
        dealt = {case for fold in dataset.read_folds(data_dir) for case in fold}
    except InputError as error:
        return [str(error)]
    return [f"{case}: {'is in no fold' if case in entries else f'was never prepared for {stage}'}"
            for case in sorted(dealt ^ set(entries))]


def _stale(data_dir, stage, entries, study):
    """Returns one line for each shard that is missing, was written from other files, or has no case in the study."""
    lines = []
    for case, found in study.items():
        entry = entries.get(case)
        if entry is None:
            lines.append(f"{case}: was never prepared for {stage}")
        elif changed := [source for source in sorted({*found, *entry.get("sources", {})})
                         if entry.get("sources", {}).get(source) != found.get(source)]:
            lines.append(f"{dataset.shard_path(data_dir, stage, case)}: is stale, {' and '.join(changed)} changed")
    return lines + [f"{dataset.shard_path(data_dir, stage, case)}: is an orphan, the study has no such case"
                    for case in sorted(set(entries) - set(study))]


def _strange_folders(data_dir):
    """Returns one line for each folder under records/ that is not named after a stage."""
    return [f"{path}: no stage has this name (an orphan)"
            for path in sorted((pathlib.Path(data_dir) / "records").iterdir()) if path.name not in STAGES]
