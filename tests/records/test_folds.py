"""Tests five folds: disjoint, complete, equal in size within one case, the same for the same names and seed.

A case that was dealt keeps its fold.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kits_tf.errors import InputError
from kits_tf.records.dataset import deal_folds, folds_path, update_folds

NAMES = [f"case_{number:05d}" for number in range(210)]


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.sets(st.integers(0, 99999), max_size=60), st.integers(0, 2**31))
def test_every_case_is_in_exactly_one_of_five_folds_of_like_size(numbers, seed):
    names = [f"case_{number:05d}" for number in numbers]
    folds = deal_folds(names, seed)
    assert len(folds) == 5
    assert sorted(name for fold in folds for name in fold) == sorted(names)
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 1


def test_210_cases_are_five_times_42():
    assert [len(fold) for fold in deal_folds(NAMES, 0)] == [42] * 5


def test_the_order_of_the_names_does_not_matter_and_the_seed_does():
    assert deal_folds(NAMES[::-1], 7) == deal_folds(NAMES, 7)
    assert deal_folds(NAMES, 8) != deal_folds(NAMES, 7)


def test_a_fold_is_no_run_of_neighbors():
    assert all(fold != NAMES[at * 42:(at + 1) * 42] for at, fold in enumerate(deal_folds(NAMES, 0)))
    followers = [sum(NAMES[NAMES.index(name) - 1] in fold for name in fold) for fold in deal_folds(NAMES, 0)]
    assert max(followers) < 20  # of 42; one in five is expected by chance


@pytest.mark.parametrize(("seed", "order"), [(0, "12034"), (1, "14320")])
def test_the_deal_is_the_same_in_every_process_and_python(seed, order):
    # Ranked by `printf "$seed $name" | sha256sum`, one case to each fold.
    names = [f"case_0000{number}" for number in range(5)]
    assert deal_folds(names, seed) == [[f"case_0000{number}"] for number in order]


def deal_again(data_dir, names, seed=None):
    """Deals as data_prep does; returns the fold of each case."""
    folds = update_folds(data_dir, names, seed)
    folds_path(data_dir).write_text(json.dumps(folds))
    return {name: fold for fold, cases in enumerate(folds["folds"]) for name in cases}


def test_a_case_keeps_its_fold_whoever_joins_or_leaves_and_returns(tmp_path):
    first = deal_again(tmp_path, NAMES[:7], 5)
    assert first == {name: fold for fold, names in enumerate(deal_folds(NAMES[:7], 5)) for name in names}
    more = deal_again(tmp_path, NAMES[:12])
    assert more.items() >= first.items() and len(more) == 12
    sizes = [list(more.values()).count(fold) for fold in range(5)]
    assert max(sizes) - min(sizes) <= 1
    fewer = deal_again(tmp_path, NAMES[3:12])
    assert fewer == {name: more[name] for name in NAMES[3:12]}
    deal_again(tmp_path, NAMES[3:20])  # others take the places that became free
    assert deal_again(tmp_path, NAMES[:20]).items() >= more.items()
    assert json.loads(folds_path(tmp_path).read_text())["seed"] == 5


def test_another_seed_is_refused_by_the_one_that_dealt(tmp_path):
    deal_again(tmp_path, NAMES[:7], 5)
    before = folds_path(tmp_path).read_text()
    with pytest.raises(InputError, match=r"folds.json: the cases were dealt with --seed=5, and folds do not change; "
                                         r"give that seed or none, or another --output for folds of --seed=0"):
        update_folds(tmp_path, NAMES[:7], 0)
    assert folds_path(tmp_path).read_text() == before


def test_folds_that_cannot_be_read_are_not_dealt_again(tmp_path):
    folds_path(tmp_path).write_text("{")
    with pytest.raises(InputError, match="put it back from a copy, or delete it: python -m data_prep then deals"):
        update_folds(tmp_path, NAMES[:7])
