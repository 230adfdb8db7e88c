"""Tests hard phantoms: phases, tumors like medulla, adjacent organs, noise, streaks, round fields of view."""

import itertools
import json

import numpy as np
import pytest
from scipy import ndimage

from kits_tf import labels
from kits_tf.phantoms.abdomen import Scanner, draw_abdomen
from kits_tf.phantoms.anatomy import draw_around
from kits_tf.phantoms.artifacts import scan_hard
from kits_tf.phantoms.drawing import Grid
from kits_tf.phantoms.study import write_study
from kits_tf.phantoms.tissues import HARD_PHASES, hard_phase
from kits_tf.scans.nifti import read_labels
from kits_tf.volume import AIR_HU

NATIVE = HARD_PHASES[3]


@pytest.fixture(scope="module")
def anatomy():
    """Labels of a synthetic patient, in place of a label file."""
    return draw_abdomen((0, 1), "ordinary", Scanner(128, (5.0, 5.0)))[1]


@pytest.fixture(scope="module")
def drawn(anatomy):
    """The CT around the labels, by name of the phase."""
    return {phase.name: draw_around(anatomy, 5, phase).voxels for phase in HARD_PHASES}


def test_the_same_seed_draws_the_same_scan_and_another_seed_another(anatomy, drawn):
    again = draw_around(anatomy, 5, HARD_PHASES[0]).voxels
    assert np.array_equal(again, drawn["arterial"])
    assert not np.array_equal(draw_around(anatomy, 6, HARD_PHASES[0]).voxels, again)


def test_one_case_in_four_is_without_contrast_medium_and_the_summary_says_so(anatomy, tmp_path):
    assert [hard_phase(index).name for index in range(5)] == ["arterial", "nephrographic", "weak", "native", "arterial"]
    write_study(tmp_path, cases=4, seed=0, scanner=Scanner(64, (8.0, 8.0)), hard=True)
    summary = json.loads((tmp_path / "study.json").read_text())
    assert [entry["phase"] for entry in summary.values()] == ["arterial", "nephrographic", "weak", "native"]


def test_without_contrast_medium_kidney_tumor_and_vessels_are_alike(anatomy, drawn):
    kidney, tumor = (drawn["native"][anatomy.voxels == class_id].mean() for class_id in (labels.KIDNEY, labels.TUMOR))
    assert 20 < kidney < 50
    assert abs(kidney - tumor) < 20


@pytest.mark.parametrize("phase", HARD_PHASES, ids=lambda phase: phase.name)
def test_a_tumor_may_be_as_bright_as_medulla(phase):
    low, high = phase.tumor
    assert low < phase.medulla - 5
    assert high > phase.medulla - 15


def test_soft_tissue_touches_the_kidneys_and_fat_does_too(anatomy, drawn):
    inside = labels.foreground(anatomy.voxels)
    around = ndimage.binary_dilation(inside, iterations=2) & ~ndimage.binary_dilation(inside)
    touching = (drawn["nephrographic"][around] > 20).mean()
    assert 0.1 < touching < 0.9


def test_drawn_cases_are_as_hard_where_asked():
    scanner = Scanner(96, (6.0, 6.0))
    easy, truth = draw_abdomen((0, 1), "ordinary", scanner)
    hard, same = draw_abdomen((0, 1), "ordinary", scanner, NATIVE)
    assert np.array_equal(truth.voxels, same.voxels)
    assert hard.voxels[truth.voxels == labels.KIDNEY].mean() < 60 < easy.voxels[truth.voxels == labels.KIDNEY].mean()


WHOLE = np.ones((90, 110), bool)


def grid_of(thickness_mm, slices=12):
    return Grid((slices, 90, 110), (thickness_mm, 1.5, 1.5), (0.0, -67.0, -82.0))


def noise_hu(thickness_mm, seed):
    """Returns the noise's standard deviation in the middle of a uniform body, in HU."""
    grid = grid_of(thickness_mm)
    scanned = scan_hard(np.full(grid.shape, 50, np.float32), grid, np.random.default_rng(seed), WHOLE)
    return np.median(scanned[:, 30:60, 35:75].std(axis=(1, 2)))


def test_noise_falls_with_the_slices_thickness():
    thin, middle, thick = (np.median([noise_hu(thickness, seed) for seed in range(5)]) for thickness in (0.5, 3, 5))
    assert thin > 1.5 * middle
    assert middle > 1.1 * thick
    assert 5 < thick < middle < 25


def test_thin_slices_share_noise_with_their_neighbors_and_thick_ones_do_not():
    def likeness(thickness):
        grid = grid_of(thickness, 30)
        scanned = scan_hard(np.zeros(grid.shape, np.float32), grid, np.random.default_rng(3), WHOLE)
        return np.mean([np.corrcoef(above.ravel(), below.ravel())[0, 1]
                        for above, below in itertools.pairwise(scanned)])

    assert likeness(0.5) > 0.3
    assert abs(likeness(5.0)) < 0.15


def test_a_round_picture_leaves_no_kidney_out_and_others_are_square():
    grid = grid_of(3.0, 2)
    middle = np.zeros((90, 110), bool)
    middle[30:60, 30:60] = True

    def cut(seed, keep):
        scanned = scan_hard(np.full(grid.shape, 50, np.float32), grid, np.random.default_rng(seed), keep)
        return bool((scanned[0, :3, :3] == AIR_HU).all())

    assert 0.05 < np.mean([cut(seed, middle) for seed in range(40)]) < 0.5
    assert not any(cut(seed, WHOLE) for seed in range(40))


def test_streaks_change_some_slices_of_some_scans():
    grid = Grid((20, 90, 110), (3.0, 3.0, 3.0), (0.0, -135.0, -165.0))
    loud = 0
    for seed in range(30):
        scanned = scan_hard(np.zeros(grid.shape, np.float32), grid, np.random.default_rng(seed), WHOLE)
        spread = scanned.std(axis=(1, 2))
        loud += spread.max() > 1.1 * np.median(spread)
    assert 3 < loud < 25


@pytest.mark.soak
@pytest.mark.parametrize("index", [5, 12, 30, 31])  # fused; tumors of 250 ml and 1.5 liters; small pixels
def test_real_kidneys_lie_whole_in_the_picture_whatever_is_drawn_around_them(real_masks, index):
    truth = read_labels(real_masks[index])
    before = truth.voxels.copy()
    ct = draw_around(truth, (1, index), hard_phase(index)).voxels
    assert np.array_equal(truth.voxels, before)
    kidney = ct[before == labels.KIDNEY]
    assert (kidney > -500).all()  # no kidney voxel lies outside the round field of view
    cortex = hard_phase(index).cortex
    assert 0.5 * cortex < np.median(kidney) < 1.15 * cortex
