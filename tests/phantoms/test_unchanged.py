"""Tests that the phantoms of `make demo`, --hard and --anatomy never change, so that scores of versions compare.

A few voxels differ by 1 HU between NumPy 1.26 and 2.5, so scans are compared by sums over voxels.
"""

import hashlib

import numpy as np
import pytest

from kits_tf.phantoms.abdomen import ORDINARY, Scanner, draw_abdomen
from kits_tf.phantoms.anatomy import draw_around
from kits_tf.phantoms.tissues import HARD_PHASES
from kits_tf.volume import Volume

SMALL = Scanner(size_voxels=64, slice_mm=(8.0, 8.0))
ROUNDING_HU = 60  # 20 voxels that round differently, each weighted by at most 3


def sums(voxels):
    """Returns (sum, weighted sum) of a scan; weights from -3 to 3 depend on the position, to detect moved voxels."""
    flat = voxels.ravel().astype(np.int64)
    return int(flat.sum()), int((flat * (np.arange(flat.size) % 7 - 3)).sum())


def boxed_labels():
    """Returns labels of two ellipsoid kidneys, the right one with a tumor at its upper pole."""
    z, y, x = np.indices((16, 40, 44)) * 8.0
    voxels = np.zeros(z.shape, np.uint8)
    for side in (-1, 1):
        voxels[((z - 64) / 50) ** 2 + ((y - 176) / 26) ** 2 + ((x - 176 - side * 64) / 28) ** 2 < 1] = 1
    voxels[((z - 40) / 16) ** 2 + ((y - 176) / 16) ** 2 + ((x - 92) / 16) ** 2 < 1] = 2
    return Volume.from_spacing(voxels, (8.0, 8.0, 8.0))


@pytest.mark.parametrize(("kind", "hard", "scan_sums", "label_digest"), [
    (ORDINARY, None, (-53966155, 58267), "ab40ac8f67097c40"),
    ("horseshoe", None, (-63189312, -99022), "5a04923c5200b453"),
    (ORDINARY, HARD_PHASES[0], (-53984869, 63915), "ab40ac8f67097c40"),
    ("giant", HARD_PHASES[3], (-50664551, 21534), "b047790114611bb6"),
])
def test_plain_and_hard_cases_stay_as_they_are(kind, hard, scan_sums, label_digest):
    ct, drawn = draw_abdomen((5, 2), kind, SMALL, hard)
    assert hashlib.sha256(drawn.voxels.tobytes()).hexdigest()[:16] == label_digest
    assert np.abs(np.subtract(sums(ct.voxels), scan_sums)).max() <= ROUNDING_HU


@pytest.mark.parametrize(("phase", "scan_sums"), [
    (HARD_PHASES[0], (-9823344, -1306)),
    (HARD_PHASES[3], (-10103502, -2545)),
])
def test_scans_around_labels_stay_as_they_are(phase, scan_sums):
    ct = draw_around(boxed_labels(), (1, 3), phase)
    assert np.abs(np.subtract(sums(ct.voxels), scan_sums)).max() <= ROUNDING_HU
