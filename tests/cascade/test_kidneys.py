"""Which parts of the fine result belong to a kidney, against SciPy's components."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from kits_tf.cascade.kidneys import THRESHOLD, Kidneys, keep_found

CUBE = np.ones((3, 3, 3), bool)
SHAPE = (6, 7, 8)


def kept(probabilities, boxes, origin=(0, 0, 0)):
    """keep_found with kidneys in boxes of ((z, y, x) start, stop)."""
    starts, stops = np.reshape(np.array(boxes, np.int32), (-1, 2, 3)).transpose(1, 0, 2)
    kidneys = Kidneys(tf.constant(starts), tf.constant(stops), tf.zeros(starts.shape), tf.zeros(len(starts)))
    found, dropped = keep_found(tf.constant(probabilities, tf.float32), kidneys, tf.constant(origin, tf.int32))
    return found.numpy(), int(dropped)


def test_a_part_that_neighbours_a_box_by_a_corner_stays_and_one_voxel_further_goes():
    probabilities = np.full((12, 30, 30), 0.2, np.float32)
    probabilities[4:6, 10:14, 10:14] = 0.9  # the kidney, in a box of 2 to 7, 8 to 15, 8 to 15
    near, far = (8, 16, 16), (1, 6, 6)
    probabilities[near] = probabilities[far] = 0.8
    found, dropped = kept(probabilities, [((3, 8, 8), (8, 16, 16))])
    assert found[near] == np.float32(0.8) and found[far] == 0 and dropped == 1
    expected = probabilities.copy()
    expected[far] = 0
    np.testing.assert_array_equal(found, expected)  # and not a voxel around either


def test_a_part_that_reaches_a_box_stays_whole_and_boxes_lie_where_the_region_begins():
    probabilities = np.zeros((12, 30, 30), np.float32)
    probabilities[5, 10, 2:20] = 0.9  # a rod whose end alone is in the box
    found, dropped = kept(probabilities, [((104, 208, 318), (107, 212, 325))], origin=(100, 200, 300))
    assert dropped == 0
    np.testing.assert_array_equal(found, probabilities)
    found, dropped = kept(probabilities, [((104, 208, 322), (107, 212, 325))], origin=(100, 200, 300))
    assert dropped == 1 and not found.any()


def test_a_box_beyond_the_region_belongs_to_no_part_in_it():
    probabilities = np.zeros((12, 30, 30), np.float32)
    probabilities[0, 0, 0] = 0.9
    found, dropped = kept(probabilities, [((-9, -9, -9), (-2, -2, -2)), ((40, 40, 40), (50, 50, 50))])
    assert dropped == 1 and not found.any()


BOX = st.tuples(*[st.tuples(st.integers(0, size - 1), st.integers(1, 4)) for size in SHAPE])  # (start, size) by axis


@given(mask=arrays.arrays(bool, SHAPE, elements=st.booleans(), fill=st.just(False)), boxes=st.lists(BOX, max_size=3))
def test_the_parts_that_stay_are_those_of_scipy_that_reach_a_box(mask, boxes):
    probabilities = np.where(mask, 0.75, 0.25 * THRESHOLD).astype(np.float32)
    found, dropped = kept(probabilities, [([start for start, _ in box], [start + size for start, size in box])
                                          for box in boxes])
    inside = np.zeros(SHAPE, bool)
    for box in boxes:
        inside[tuple(slice(start, start + size) for start, size in box)] = True
    numbered, count = ndimage.label(mask, CUBE)
    reached = np.unique(numbered[ndimage.binary_dilation(inside, CUBE)])
    loose = mask & ~np.isin(numbered, reached)
    assert dropped == count - np.count_nonzero(reached)
    np.testing.assert_array_equal(found, np.where(loose, 0, probabilities))
