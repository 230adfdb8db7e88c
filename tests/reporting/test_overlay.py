"""Tests the overlay image by measuring its pixels, at the scale of its scale bar."""

import pathlib
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from kits_tf.reporting import overlay
from kits_tf.reporting.overlay import cut_through, draw_overlay, outlines
from kits_tf.volume import Volume

SHAPE = (20, 60, 50)
SPACING_MM = (5.0, 2.0, 4.0)  # 100 x 120 x 200 mm: planes of 200, 200 and 120 mm side by side
PIXELS_PER_MM = overlay.DPI * (overlay.WIDTH - 4 * overlay.GAP) / (200 + 200 + 120)
LEFTS = [overlay.DPI * (number + 1) * overlay.GAP + PIXELS_PER_MM * before for number, before in
         enumerate((0, 200, 400))]  # left edges of the three planes
MIDDLE = overlay.DPI * overlay.TITLE + PIXELS_PER_MM * 60  # row of their centers
TOPS = [MIDDLE - PIXELS_PER_MM * high / 2 for high in (120, 100, 100)]


def scan(shape=SHAPE, spacing_mm=SPACING_MM, hu=0):
    return Volume.from_spacing(np.full(shape, hu, np.int16), spacing_mm)


def one_kidney(shape=SHAPE):
    """Returns labels of a kidney 50 mm high, 36 mm deep, 40 mm wide; its upper 20 mm are tumor."""
    labels = np.zeros(shape, np.uint8)
    labels[4:14, 30:48, 10:20] = 1
    labels[4:8, 30:48, 10:20] = 2
    return labels


def draw(path, ct, labels, **more):
    draw_overlay(path, ct, ct.with_voxels(labels), "case_00210", **more)
    return matplotlib.image.imread(path)[..., :3]


def extent(image, color, plane):
    """Returns (left, top, right, bottom) of the pixels of a color, in mm from the plane's corner."""
    left, top = LEFTS[plane], TOPS[plane]
    mm = (200, 200, 120)[plane], (120, 100, 100)[plane]
    right, bottom = left + mm[0] * PIXELS_PER_MM, top + mm[1] * PIXELS_PER_MM
    part = image[round(top):round(bottom), round(left):round(right)]
    rows, columns = np.nonzero(np.abs(part - to_rgb(color)).max(axis=-1) < 0.08)
    return tuple(edge / PIXELS_PER_MM for edge in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))


@pytest.mark.parametrize(("plane", "expected_mm"), [
    (0, (40, 60, 80, 96)),  # axial: x from 10 * 4 mm, y from 30 * 2 mm
    (1, (40, 20, 80, 70)),  # coronal: z from 4 * 5 mm
    (2, (60, 20, 96, 70)),  # sagittal
])
def test_kidney_is_drawn_where_it_lies_and_as_large_in_mm_in_all_three_planes(tmp_path, plane, expected_mm):
    labels = (one_kidney() > 0).astype(np.uint8)
    image = draw(tmp_path / "picture.png", scan(), labels)
    assert extent(image, overlay.LINES["kidney (with tumor)"]["color"], plane) == pytest.approx(expected_mm, abs=1.0)


def test_tumor_is_at_the_head_end_of_its_kidney(tmp_path):
    image = draw(tmp_path / "picture.png", scan(), one_kidney())
    assert extent(image, overlay.LINES["tumor"]["color"], 1) == pytest.approx((40, 20, 80, 40), abs=1.0)
    assert extent(image, overlay.LINES["kidney (with tumor)"]["color"], 1)[3] == pytest.approx(70, abs=1.0)


def test_right_is_at_the_left_front_is_up_and_head_is_up(tmp_path):
    ct = scan(hu=-1000)
    voxels = ct.voxels.copy()
    voxels[:10, :30, :25] = 1000  # upper, front, right eighth of the body
    labels = np.zeros(SHAPE, np.uint8)
    labels[4, 4, 4] = 1  # so that all three planes pass through it
    image = draw(tmp_path / "picture.png", ct.with_voxels(voxels), labels)
    for left, top, wide, high in zip(LEFTS, TOPS, (200, 200, 120), (120, 100, 100), strict=True):
        quarters = [[image[round(top + PIXELS_PER_MM * high * y), round(left + PIXELS_PER_MM * wide * x)].mean()
                     for x in (0.3, 0.7)] for y in (0.3, 0.7)]
        assert quarters == [[1.0, 0.0], [0.0, 0.0]]


def test_bar_of_5_cm_is_50_mm_long_in_pixels(tmp_path):
    image = draw(tmp_path / "picture.png", scan(), one_kidney())
    below = round(MIDDLE + PIXELS_PER_MM * 60 + 13)  # under the axial plane, which ends at 200 mm
    row = np.abs(image[below, :round(LEFTS[1])] - to_rgb(overlay.INK)).max(axis=-1) < 0.02
    end = LEFTS[0] + 200 * PIXELS_PER_MM
    bar = np.flatnonzero(row & (np.arange(row.size) > end - 51 * PIXELS_PER_MM))
    assert bar[-1] - bar[0] + 1 == pytest.approx(50 * PIXELS_PER_MM, abs=2)


def test_truth_is_drawn_beside_labels_that_found_nothing(tmp_path):
    ct = scan()
    truth = ct.with_voxels(one_kidney())
    image = draw(tmp_path / "picture.png", ct, np.zeros(SHAPE, np.uint8), truth=truth)
    assert extent(image, overlay.LINES["true tumor"]["color"], 1) == pytest.approx((40, 20, 80, 40), abs=1.5)
    with pytest.raises(ValueError):  # no pixel of that color
        extent(image, overlay.LINES["tumor"]["color"], 1)


@pytest.mark.parametrize(("shape", "spacing_mm"), [
    ((1, 60, 50), (5.0, 2.0, 4.0)), ((1, 1, 1), (5.0, 1.0, 1.0)), ((900, 30, 20), (1.0, 3.0, 3.0)),
    ((9, 300, 4), (0.5, 0.5, 10.0)), ((7, 3, 200), (8.0, 1.0, 1.0))])
@pytest.mark.parametrize("content", ["empty", "full", "one tumor voxel"])
def test_any_shape_and_any_labels_become_a_picture_of_at_most_14_by_13_inches(tmp_path, shape, spacing_mm, content):
    labels = np.full(shape, content == "full", np.uint8)
    if content == "one tumor voxel":
        labels[-1, -1, -1] = 2
    image = draw(tmp_path / "picture.png", scan(shape, spacing_mm), labels)
    assert image.shape[1] == 1400
    assert 300 < image.shape[0] < 1300
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_case_id_with_dollars_and_100_letters_is_no_formula_and_fits(tmp_path):
    ct = scan()
    draw_overlay(tmp_path / "picture.png", ct, ct, "$\\frac$" + "w" * 100)
    assert (tmp_path / "picture.png").exists()


def test_case_id_in_a_script_without_a_font_brings_no_warning(tmp_path):
    code = ("import numpy as np; from kits_tf.volume import Volume; "
            "from kits_tf.reporting.overlay import draw_overlay; "
            "ct = Volume.from_spacing(np.ones((4, 8, 8), np.uint8), (5, 5, 5)); "
            f"draw_overlay({str(tmp_path / 'picture.png')!r}, ct, ct, '\\u814e\\u81d3 1')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_labels_of_another_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\(20, 60, 49\)"):
        draw_overlay(tmp_path / "picture.png", scan(), scan((20, 60, 49)), "case_00210")
    assert not list(tmp_path.iterdir())


def test_pyplot_and_its_global_state_are_not_touched():
    code = "import sys, kits_tf.reporting.overlay; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=pathlib.Path(overlay.__file__).parents[2],
                          check=False).returncode == 0


def regions(*blocks, shape=(8, 9, 10)):
    """Returns the masks (kidney with tumor, tumor) of the painted blocks (class, z, y, x slices)."""
    labels = np.zeros(shape, np.uint8)
    for value, *block in blocks:
        labels[tuple(slice(*edges) for edges in block)] = value
    return labels >= 1, labels == 2


KIDNEY = (1, (2, 5), (3, 6), (6, 9))
SMALL_TUMOR = (2, (6, 7), (7, 8), (1, 2))
LARGE_TUMOR = (2, (3, 4), (3, 5), (6, 8))
NOTHING = regions()


def test_cut_goes_through_the_larger_of_two_tumors():
    z, y, x = cut_through([regions(KIDNEY, SMALL_TUMOR, LARGE_TUMOR)])
    assert (z, y, x) == (3, 3, 6)


def test_cut_goes_through_the_widest_slice_of_the_kidney_without_a_tumor():
    wide = (1, (4, 5), (3, 8), (4, 9))  # 25 voxels in slice 4 against 9 in the others
    assert cut_through([regions(KIDNEY, wide)])[0] == 4


def test_cut_goes_through_a_missed_tumor_before_a_kidney_and_through_the_middle_of_nothing():
    assert cut_through([regions(KIDNEY), regions(SMALL_TUMOR)]) == (6, 7, 1)
    assert cut_through([NOTHING, NOTHING]) == (4, 4, 5)


def test_outline_lies_halfway_between_voxels_and_is_closed_at_the_pictures_edge():
    mask = np.zeros((6, 9), bool)
    mask[0:2, 5:9] = True  # touches the top and the right
    line, = outlines(mask)
    assert line.min(axis=0).tolist() == [4.5, -0.5]  # column, row
    assert line.max(axis=0).tolist() == [8.5, 1.5]
    assert line[0].tolist() == line[-1].tolist()


def test_kidney_with_a_hole_has_two_outlines_and_an_empty_mask_none():
    mask = np.ones((5, 7), bool)
    mask[2, 3] = False
    assert len(outlines(mask)) == 2
    assert outlines(np.zeros((5, 7), bool)) == []
