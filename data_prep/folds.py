"""Deals the cases of a study into folds."""

import hashlib
from collections.abc import Iterable

from kits_tf.io.dataset import FOLDS


def deal_folds(names: Iterable[str], seed: int) -> list[list[str]]:
    """Five lists of case names, disjoint and of equal size give or take one; the same for the same names and seed."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).hexdigest())
    return [sorted(ranked[fold::FOLDS]) for fold in range(FOLDS)]
