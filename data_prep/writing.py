"""Writes one case's shards: where TensorFlow comes in. Which of them are due, shards.py says."""

import pathlib

from data_prep.cases import read_case
from data_prep.examples import CUTTERS
from data_prep.manifest import write_note
from kits_tf.config import CascadeConfig
from kits_tf.records import dataset, schema
from kits_tf.scans.discovery import Case


def write_shards(case: Case, data_dir: str | pathlib.Path, stages: list[str], config: CascadeConfig,
                 found: dict) -> tuple[str, ...]:
    """Writes a case's shards for some stages; notes each when it is whole.

    Args:
        case: kits_tf.scans.discovery.Case.
        data_dir: folder to write to.
        stages: names out of config.STAGES.
        config: CascadeConfig.
        found: manifest.sources of the case.

    Returns:
        The case's warnings, as cases.NormalizedCase has them.

    Raises:
        InputError: as cases.read_case.
        RunError: if the disk is full.
    """
    normalized = read_case(case, config.spacing_mm)
    made = {}
    for stage in stages:
        cut = CUTTERS[stage]
        if cut not in made:  # tumor2d's are fine's
            made[cut] = list(cut(normalized, config))
        count = schema.write(dataset.shard_path(data_dir, stage, case.name), made[cut])
        write_note(data_dir, stage, case.name, config.record_settings(stage), found, count)
    return normalized.warnings
