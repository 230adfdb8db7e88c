"""Turns a data set into TFRecord shards, one per case and stage: python -m data_prep.

    preparation.py   prepares a study: every case and stage, and the folds
    shards.py        prepares one case: finds the shards that are not up to date and writes them
    cases.py         reads, checks and resamples one case
    examples.py      cuts the training examples of the five stages and writes them
    conflicts.py     refuses to delete or replace records of something else
    manifest.py      records the sources and settings of each shard
    check.py         checks a prepared folder for damaged, missing and stale shards
"""
