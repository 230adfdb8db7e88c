"""Tests that an implausible result gives one warning for each reason, and an ordinary one none."""

import numpy as np
import pytest

from kits_tf.reporting.measurements import measure
from kits_tf.reporting.plausibility import result_warnings
from kits_tf.volume import Volume

SHAPE, SPACING_MM = (40, 32, 48), (8.0, 8.0, 8.0)  # 320 x 256 x 384 mm, voxels of 0.512 ml


def said(boxes, lung=None):
    """Returns the warnings about labels with a class id in each box (z, y, x in voxels), in a body of water."""
    labels = np.zeros(SHAPE, np.uint8)
    for class_id, box in boxes:
        labels[box] = class_id
    ct = np.full(SHAPE, -1000, np.int16)
    ct[:, 4:28, 4:44] = 20
    if lung is not None:
        ct[lung, 6:26, 8:40] = -800
    volume = Volume.from_spacing(labels, SPACING_MM)
    scan = Volume.from_spacing(ct, SPACING_MM)
    return result_warnings(measure(volume, scan), scan)


RIGHT, LEFT = np.s_[14:26, 14:19, 10:15], np.s_[15:27, 14:19, 32:37]  # 300 voxels, 154 ml


def test_two_ordinary_kidneys_and_none_at_all_raise_no_warning():
    assert said([(1, RIGHT), (1, LEFT)]) == []
    assert said([(1, RIGHT), (1, LEFT), (2, np.s_[14:18, 14:19, 10:15])]) == []
    assert said([]) == []


@pytest.mark.parametrize(("boxes", "words"), [
    ([(1, RIGHT), (1, LEFT), (1, np.s_[14:20, 20:26, 20:26])], "3 separate parts"),
    ([(1, np.s_[14:18, 14:19, 10:15])], "right kidney has only 51 ml"),
    ([(1, np.s_[10:30, 12:20, 30:38])], "left kidney has 655 ml"),
    ([(1, RIGHT), (2, np.s_[18:26, 14:19, 10:15])], "67% of the right kidney is labeled tumor"),
    ([(1, np.s_[1:13, 14:19, 10:15]), (1, np.s_[16:28, 14:19, 32:37])], "120 mm apart in height"),
])
def test_an_implausible_result_gives_one_warning(boxes, words):
    lines = said(boxes)
    assert len(lines) == 1
    assert words in lines[0]


def test_a_kidney_beside_the_lungs_gives_a_warning():
    assert any("height of the lungs" in line for line in said([(1, RIGHT)], lung=np.s_[0:24]))
    assert said([(1, RIGHT)], lung=np.s_[0:12]) == []
