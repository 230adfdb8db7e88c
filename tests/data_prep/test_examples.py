"""Compares every voxel of each stage's records with the case resampled by SciPy."""

import dataclasses

import numpy as np
import pytest
from harness.prepared import (
    CONFIG,
    GRID,
    SHAPE,
    by_scipy,
    classes_by_scipy,
    ellipsoid,
    one_wide_kidney,
    read_records,
    two_kidneys,
    write_case,
)
from harness.triangles import block_of
from harness.triangles import resample as by_definition
from scipy import ndimage

from data_prep import examples
from data_prep.cases import read_case
from data_prep.preparation import prepare_study
from kits_tf.config import PRESETS, STAGES
from kits_tf.phantoms.abdomen import Scanner
from kits_tf.phantoms.study import write_study
from kits_tf.records.dataset import read_manifest
from kits_tf.records.schema import BOX
from kits_tf.scans.discovery import find_study
from kits_tf.volume import BODY_HU

ROUNDING_HU = 0.5 + 1e-2
LABELS = {"case_00000": two_kidneys(), "case_00001": one_wide_kidney()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """(data folder, {case: (scan, labels)}) of two cases prepared for all stages."""
    folder = tmp_path_factory.mktemp("prepared")
    cases = {name: (write_case(folder / "study", name, labels, seed), labels)
             for seed, (name, labels) in enumerate(LABELS.items())}
    assert prepare_study(folder / "study", folder / "data", STAGES, CONFIG, seed=0) == 0
    return folder / "data", cases


def depth_of(stage, shape):
    """Returns a record's shape as a block (z, y, x): axial slices are one voxel deep, sagittal ones one voxel wide."""
    return {"correction": (*shape, 1), "tumor3d": shape}.get(stage, (1, *shape))


@pytest.mark.parametrize("case", LABELS)
@pytest.mark.parametrize("stage", ["correction", "fine", "tumor3d", "tumor2d"])
def test_every_record_is_its_block_of_the_scan_and_labels_that_scipy_resampled(stage, case, prepared):
    data, cases = prepared
    ct, labels = by_scipy(cases[case][0]), classes_by_scipy(cases[case][1])
    found = read_records(data, stage, case)
    box = read_records(data, stage, case, box=True)
    assert len(found) + len(box) == read_manifest(data, stage)["cases"][case]["records"] > 0
    assert (len(box) > 0) == (stage == "tumor3d")
    inside = 0
    for record in [*found, *box]:
        shape = record["image"].shape
        block = depth_of(stage, shape)
        image = block_of(ct, record["start"], block, -1024).reshape(shape)
        assert abs(record["image"] - image).max() <= ROUNDING_HU
        assert np.array_equal(record["labels"], block_of(labels, record["start"], block, 0).reshape(shape))
        assert record["case"].decode() == case
        inside += (record["labels"] > 0).sum()
    assert inside > 0


@pytest.mark.parametrize("case", LABELS)
def test_coarse_records_are_all_slices_padded_to_a_square_and_resized(case, prepared):
    data, cases = prepared
    size = CONFIG.coarse.size_voxels

    def squared(volume, outside):
        pad = [(0, 0), (2, 2), (0, 0)]  # 52 x 56 pixels become 56 x 56
        return by_definition(np.pad(by_scipy(volume), pad, constant_values=outside), (GRID[0], size, size))

    ct, labels = cases[case]
    image, tumor, foreground = squared(ct, -1024), squared(labels == 2, 0), squared(labels >= 1, 0)
    found = read_records(data, "coarse", case)
    assert [record["start"].tolist() for record in found] == [[z, -2, 0] for z in range(GRID[0])]
    for z, record in enumerate(found):
        assert abs(record["image"] - image[z]).max() <= ROUNDING_HU
        assert np.array_equal(record["labels"], np.where(tumor[z] >= 0.5, 2, foreground[z] >= 0.5))
        assert record["kind"] == record["labels"].max()
        assert record["kidney"] == -1


@pytest.mark.parametrize("stage", ["coarse", "correction", "fine", "tumor2d"])
def test_a_2d_record_counts_as_the_highest_class_in_it(stage, prepared):
    kinds = [(record["kind"], record["labels"].max()) for record in read_records(prepared[0], stage, "case_00000")]
    assert all(kind == highest for kind, highest in kinds)
    assert {kind for kind, _ in kinds} == {0, 1, 2}


@pytest.mark.parametrize("case", LABELS)
def test_correction_has_every_plane_with_kidney_and_as_many_without(case, prepared):
    data, cases = prepared
    labels = classes_by_scipy(cases[case][1])
    found = read_records(data, "correction", case)
    size = CONFIG.record_shape("correction")
    z, y = (int(np.floor(middle + 0.5)) - length // 2
            for middle, length in zip(np.argwhere(labels)[:, :2].mean(axis=0), size, strict=True))
    assert {tuple(record["start"][:2]) for record in found} == {(z, y)}  # one crop, around the centroid
    planes = [int(record["start"][2]) for record in found]
    assert planes == sorted(set(planes))
    crop = block_of(labels, (z, y, 0), (*size, GRID[2]), 0)
    with_kidney = set(np.flatnonzero(crop.any(axis=(0, 1))).tolist())
    assert with_kidney <= set(planes)
    without = len(planes) - len(with_kidney)
    assert without == min(len(with_kidney), GRID[2] - len(with_kidney)) > 0


def kidneys_by_scipy(labels):
    """Returns masks of the components above the size threshold, on the normalized grid."""
    numbered, count = ndimage.label(classes_by_scipy(labels) > 0, np.ones((3, 3, 3)))
    masks = [numbered == index for index in range(1, count + 1)]
    return [mask for mask in masks if mask.sum() > CONFIG.kidney_min_voxels]


@pytest.mark.parametrize(("case", "kidneys"), [("case_00000", 2), ("case_00001", 1)])
@pytest.mark.parametrize("stage", ["fine", "tumor2d"])
def test_each_kidney_has_its_slices_two_beyond_either_pole_and_crops_that_lose_nothing(stage, case, kidneys, prepared):
    data, cases = prepared
    masks = kidneys_by_scipy(cases[case][1])
    assert len(masks) == kidneys
    found = read_records(data, stage, case)
    assert {record["kidney"] for record in found} == set(range(kidneys))
    size, jitter = CONFIG.fine.crop_voxels, CONFIG.fine.jitter_voxels
    unmatched = list(masks)
    for kidney in range(kidneys):
        own = [record["start"] for record in found if record["kidney"] == kidney]
        covered = np.zeros(GRID, int)  # by the crops that the network sees, without the jitter margin
        for z, y, x in own:
            y, x = y + jitter, x + jitter
            covered[z, max(y, 0):y + size, max(x, 0):x + size] += 1
        mask = max(unmatched, key=lambda mask: (mask & (covered > 0)).sum())
        unmatched = [other for other in unmatched if other is not mask]
        assert (covered[mask] > 0).all()
        slices = np.flatnonzero(mask.any(axis=(1, 2)))
        expected = range(max(slices[0] - 2, 0), min(slices[-1] + 3, GRID[0]))
        assert sorted({int(z) for z, _, _ in own}) == list(expected)
        crops = {(int(y), int(x)) for _, y, x in own}
        assert len(own) == len(crops) * len(expected)  # each crop once in each slice
        if kidneys == 2:
            assert len(crops) == 1
        else:  # 44 + 2 x 3 pixels by crops of 24 that overlap by 8 or more: three
            steps = np.diff(sorted(x for _, x in crops))
            assert len(crops) == 3
            assert steps.max() <= size - CONFIG.fine.overlap_voxels


def test_one_crop_lies_around_its_kidneys_centroid(prepared):
    data, cases = prepared
    middles = [np.argwhere(mask).mean(axis=0)[1:] for mask in kidneys_by_scipy(cases["case_00000"][1])]
    half = CONFIG.record_shape("fine")[0] // 2
    crops = {tuple((record["start"][1:] + half).tolist()) for record in read_records(data, "fine", "case_00000")}
    assert crops == {tuple(np.floor(middle + 0.5).astype(int).tolist()) for middle in middles}


def test_tumor2d_stores_what_fine_stores(prepared):
    pairs = zip(*(read_records(prepared[0], stage, "case_00001") for stage in ("fine", "tumor2d")), strict=True)
    assert all(np.array_equal(one[name], other[name]) for one, other in pairs for name in one)


@pytest.mark.parametrize("case", LABELS)
def test_tumor3d_patches_are_centered_in_the_class_they_claim_inside_the_box(case, prepared):
    data, cases = prepared
    labels = classes_by_scipy(cases[case][1])
    found = read_records(data, "tumor3d", case)
    size = np.array(CONFIG.record_shape("tumor3d"))
    assert [record["kind"] for record in found] == [0] * 5 + [1] * 5 + [2] * 5
    where = np.argwhere(labels)
    pad = np.array([3, 6, 6]) + 2  # 6 pixels of 2 mm are 3 slices of 4 mm; and up to two voxels of rounding
    low, high = where.min(axis=0) - pad, where.max(axis=0) + 1 + pad
    centres = set()
    for record in found:
        centre = record["start"] + size // 2
        assert labels[tuple(centre)] == record["kind"]
        assert record["labels"][tuple(size // 2)] == record["kind"]
        assert (centre >= low).all()
        assert (centre < high).all()
        centres.add(tuple(centre.tolist()))
    assert len(centres) == 15  # all different


@pytest.fixture
def case_of(tmp_path):
    def make(labels, without_kidneys=False, **more):
        write_case(tmp_path / "study", "case_00000", labels, **more)
        return read_case(find_study(tmp_path / "study")[0], CONFIG.spacing_mm, without_kidneys)
    return make


@pytest.mark.parametrize("stage", ["correction", "fine", "tumor2d"])
def test_elsewhere_adds_crops_of_the_scan_and_labels_centered_in_the_body(stage, case_of):
    more = dataclasses.replace(CONFIG, correction=dataclasses.replace(CONFIG.correction, elsewhere=4),
                               fine=dataclasses.replace(CONFIG.fine, elsewhere=4))
    case = case_of(two_kidneys())
    cut = examples.CUTTERS[stage]
    added, usual = list(cut(case, more)), list(cut(case, CONFIG))
    assert len(added) == len(usual) + 4
    ct, labels = by_scipy(case.ct.numpy()), classes_by_scipy(two_kidneys())
    stored = case.ct.numpy()
    for example in added[:4]:
        shape = example.image.shape
        block = depth_of(stage, shape)
        assert abs(example.image - block_of(ct, example.start, block, -1024).reshape(shape)).max() <= ROUNDING_HU
        assert np.array_equal(example.labels, block_of(labels, example.start, block, 0).reshape(shape))
        assert (example.kidney, example.kind) == (-1, example.labels.max())
        middle = np.array(example.start) + np.array(block) // 2
        at = tuple(((middle + 0.5) * np.array(SHAPE) / GRID).astype(int))
        near = stored[tuple(slice(max(place - 1, 0), place + 2) for place in at)]
        assert near.max() > BODY_HU
    assert len({example.start for example in added[:4]}) == 4


def test_a_case_without_kidneys_gives_slices_and_crops_elsewhere_if_it_is_accepted(case_of):
    more = dataclasses.replace(CONFIG, correction=dataclasses.replace(CONFIG.correction, elsewhere=3),
                               fine=dataclasses.replace(CONFIG.fine, elsewhere=3))
    case = case_of(np.zeros(SHAPE, np.uint8), without_kidneys=True)
    assert any("labels no kidney" in line for line in case.warnings)
    counts = {stage: len(list(cut(case, more))) for stage, cut in examples.CUTTERS.items()}
    assert counts == {"coarse": GRID[0], "correction": 3, "fine": 3, "tumor3d": 0, "tumor2d": 3}
    assert not any(example.labels.any() for example in examples.cut_coarse(case, more))


@pytest.mark.parametrize("case", LABELS)
def test_tumor3d_ends_with_the_box_that_the_cascade_looks_for_tumors_in(case, prepared):
    data, cases = prepared
    slabs = read_records(data, "tumor3d", case, box=True)
    where = np.argwhere(classes_by_scipy(cases[case][1]) > 0)
    pad = (CONFIG.slices_of(6), 6, 6)
    least, most = np.maximum(where.min(axis=0) - pad, 0), np.minimum(where.max(axis=0) + 1 + pad, GRID)
    depth = CONFIG.tumor3d.patch_voxels[0]
    assert {record["image"].shape[0] for record in slabs} == {depth}
    assert len({(record["image"].shape, *record["start"][1:]) for record in slabs}) == 1
    start = np.array(slabs[0]["start"])
    stop = slabs[-1]["start"] + slabs[-1]["image"].shape
    for more in (least - start, stop - most):  # stored voxels are up to two normalized voxels wide
        assert (more >= 0).all()
        assert (more <= 3).all()
    firsts = np.array([record["start"][0] for record in slabs])
    assert (np.diff(firsts) > 0).all()
    assert (np.diff(firsts) <= depth).all()


def test_a_class_with_few_voxels_gives_each_of_them_once_and_one_without_gives_none(case_of):
    labels = np.where(two_kidneys() > 0, 1, 0).astype(np.uint8)
    kinds = [example.kind for example in examples.cut_tumor3d(case_of(labels), CONFIG)]
    assert kinds[:10] == [0] * 5 + [1] * 5
    assert set(kinds[10:]) == {BOX}
    labels[7:9, 20:22, 31:33] = 2
    case = case_of(labels)
    tumor_voxels = (classes_by_scipy(labels) == 2).sum()
    many = dataclasses.replace(CONFIG.tumor3d, centres_per_class=int(tumor_voxels) + 10)
    kinds = [example.kind for example in examples.cut_tumor3d(case, dataclasses.replace(CONFIG, tumor3d=many))]
    assert kinds.count(2) == tumor_voxels
    assert kinds.count(1) == tumor_voxels + 10


def test_shrunk_scans_are_averaged_not_picked(case_of):
    labels = two_kidneys((20, 70, 80))
    case = case_of(labels, seed=3, spacing_mm=(2.0, 1.1, 1.3))
    grid = (10, 38, 52)  # 40, 77 and 104 mm; 38.5 rounds to the even neighbor
    assert tuple(case.grid) == grid
    expected = by_definition(case.ct.numpy(), grid)
    start, size = np.array([-1, 4, 30]), np.array([9, 40, 30])
    assert abs(case.image(start, size) - block_of(expected, start, size, -1024)).max() <= ROUNDING_HU
    mask = by_definition(labels >= 1, grid)
    clear = abs(mask - 0.5) > 1e-4
    low, high = case.foreground_box()
    assert np.array_equal((case.classes(np.zeros(3, int), case.grid) > 0)[clear], (mask >= 0.5)[clear])
    assert (mask >= 0.5)[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].sum() == (mask >= 0.5).sum()


@pytest.mark.parametrize("corner", [0, -1])
def test_the_foreground_box_reaches_the_volumes_edge_and_no_further(corner, case_of):
    labels = np.zeros(SHAPE, np.uint8)
    labels[corner, corner, corner] = 1
    low, high = case_of(labels).foreground_box()
    where = np.argwhere(classes_by_scipy(labels))
    assert (low >= 0).all()
    assert (high <= GRID).all()
    assert (where >= low).all()
    assert (where < high).all()


def test_kidneys_below_the_threshold_still_give_the_largest_one(case_of):
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:7, 10:13, 10:13] = 1  # under 100 normalized voxels
    labels[9, 30, 30:32] = 1
    found = list(examples.cut_fine(case_of(labels), CONFIG))
    assert {example.kidney for example in found} == {0}
    assert sum((example.labels > 0).sum() for example in found) == ndimage.label(
        classes_by_scipy(labels))[0].ravel().tolist().count(1)


def test_labels_too_thin_to_fill_half_a_normalized_voxel_give_no_kidney_crop(case_of):
    labels = np.zeros((24, 36, 43), np.uint8)
    labels[11, 10:14, 10:14] = 1  # 1 mm of 4
    case = case_of(labels, spacing_mm=(1.0, 2.9, 2.6))
    assert list(examples.cut_correction(case, CONFIG)) == []
    assert list(examples.cut_fine(case, CONFIG)) == []
    assert {example.kind for example in examples.cut_tumor3d(case, CONFIG)} == {0, BOX}


def test_drawn_examples_depend_on_the_case_and_the_stage_alone(case_of):
    first, again = ([example.start for example in examples.cut_tumor3d(case_of(two_kidneys()), CONFIG)]
                    for _ in range(2))
    assert first == again
    case = case_of(two_kidneys())
    other = dataclasses.replace(case, name="case_00009")
    assert [example.start for example in examples.cut_tumor3d(other, CONFIG)] != first
    draws = {(one.name, stage): one.generator(stage).random() for one in (case, other) for stage in STAGES}
    assert len(set(draws.values())) == len(draws)


def test_a_phantom_is_prepared_for_every_stage_under_the_demo_preset(tmp_path):
    write_study(tmp_path / "study", cases=1, seed=1, scanner=Scanner(size_voxels=64, slice_mm=(8.0, 8.0)))
    demo = PRESETS["demo"]
    assert prepare_study(tmp_path / "study", tmp_path / "data", STAGES, demo, seed=0) == 0
    for stage in STAGES:
        found = read_records(tmp_path / "data", stage, "case_00000", demo)
        assert len(found) > 5
        assert {record["kind"] for record in found} == {0, 1, 2}


def test_ellipsoids_by_hand():
    assert ellipsoid((3, 3, 3), (1, 1, 1), (1, 1, 1)).sum() == 7
