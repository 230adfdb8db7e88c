"""Tests Dice per case by hand: kidney with tumor, tumor, absent classes, and the mean of both."""

import numpy as np
import pytest

from kits_tf.evaluation.scores import dice, dice_scores


def boxes(*blocks, shape=(4, 6, 10)):
    """Returns labels in which each (class, z, y, x slices) is painted over the previous ones."""
    labels = np.zeros(shape, np.uint8)
    for value, z, y, x in blocks:
        labels[z, y, x] = value
    return labels


ALL = slice(None)
EMPTY = boxes()
KIDNEY = boxes((1, slice(0, 2), ALL, slice(0, 5)))  # 2 * 6 * 5 = 60 voxels


def test_same_labels_score_1_each():
    truth = boxes((1, slice(0, 2), ALL, ALL), (2, 0, 0, slice(0, 3)))
    assert dice_scores(truth, truth) == {"tk_dice": 1.0, "tu_dice": 1.0, "composite_dice": 1.0}


def test_half_a_kidney_found_scores_2_thirds():
    found = boxes((1, 0, ALL, slice(0, 5)))  # 30 of the 60 voxels: 2 * 30 / (60 + 30)
    assert dice_scores(KIDNEY, found)["tk_dice"] == pytest.approx(2 / 3)


def test_tumor_counts_as_kidney_in_tk_dice():
    truth = boxes((1, 0, ALL, ALL), (2, 0, slice(0, 2), ALL))  # 60 voxels, 20 of them tumor
    predicted = boxes((1, 0, ALL, ALL), (2, 0, slice(1, 4), ALL))  # the same 60, 30 of them tumor, 10 shared
    scores = dice_scores(truth, predicted)
    assert scores == {"tk_dice": 1.0, "tu_dice": pytest.approx(2 * 10 / 50), "composite_dice": pytest.approx(0.7)}


def test_no_tumor_on_either_side_scores_1():
    assert dice_scores(KIDNEY, KIDNEY)["tu_dice"] == 1.0


def test_one_voxel_of_false_tumor_where_there_is_none_scores_0():
    predicted = KIDNEY.copy()
    predicted[0, 0, 0] = 2
    assert dice_scores(KIDNEY, predicted)["tu_dice"] == 0.0


def test_nothing_predicted_scores_0_for_the_kidney_and_1_for_the_absent_tumor():
    assert dice_scores(KIDNEY, EMPTY) == {"tk_dice": 0.0, "tu_dice": 1.0, "composite_dice": 0.5}


def test_scores_equal_those_of_sets_of_voxels():
    random = np.random.default_rng(3)
    truth, predicted = random.integers(0, 3, (2, 3, 5, 7)).astype(np.uint8)
    scores = dice_scores(truth, predicted)
    for column, lowest in (("tk_dice", 1), ("tu_dice", 2)):
        a, b = ({tuple(v) for v in np.argwhere(labels >= lowest).tolist()} for labels in (truth, predicted))
        assert scores[column] == pytest.approx(2 * len(a & b) / (len(a) + len(b)), abs=1e-12)


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 6, 10\)"):
        dice(np.ones((4, 6, 10), bool), np.ones((1, 6, 10), bool))
