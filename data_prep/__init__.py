"""Turns a KiTS-shaped study into TFRecord shards, one per case and stage: python -m data_prep.

    preparation.py   the study: every case, every stage, the folds
    shards.py        one case: which of its shards are due
    cases.py         one case, read, checked and resampled
    examples.py      the training examples of the five stages, cut and written
    manifest.py      what each shard was written from
    check.py         whether a prepared folder is whole
"""
