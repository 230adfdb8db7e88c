"""Tests five folds: disjoint, complete, equal in size within one case, the same for the same names and seed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kits_tf.records.dataset import deal_folds

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


def test_a_fold_is_no_run_of_neighbours():
    assert all(fold != NAMES[at * 42:(at + 1) * 42] for at, fold in enumerate(deal_folds(NAMES, 0)))
    followers = [sum(NAMES[NAMES.index(name) - 1] in fold for name in fold) for fold in deal_folds(NAMES, 0)]
    assert max(followers) < 20  # of 42; one in five is expected by chance


@pytest.mark.parametrize(("seed", "order"), [(0, "12034"), (1, "14320")])
def test_the_deal_is_the_same_in_every_process_and_python(seed, order):
    # Ranked by `printf "$seed $name" | sha256sum`, one case to each fold.
    names = [f"case_0000{number}" for number in range(5)]
    assert deal_folds(names, seed) == [[f"case_0000{number}"] for number in order]
