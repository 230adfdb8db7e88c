"""Compares training records with the network inputs of the cascade: both must show the same voxels.

The networks here are spies that keep their inputs and predict nothing. Records store whole Hounsfield units, so the two
may differ by half a unit.
"""

import numpy as np
import pytest
import tensorflow as tf
from harness.prepared import CONFIG, ellipsoid, one_wide_kidney, two_kidneys, write_case
from harness.triangles import block_of

from data_prep import examples
from data_prep.cases import read_case
from kits_tf.cascade import kidney_steps as steps
from kits_tf.cascade import tiling
from kits_tf.ops import crop
from kits_tf.ops.window import scale_window
from kits_tf.records.schema import BOX
from kits_tf.scans.discovery import find_study

HALF_A_UNIT = 0.5 / (CONFIG.window_hu[1] - CONFIG.window_hu[0]) + 1e-5


def at_the_edge():
    """Labels of a kidney that touches the volume's corner, so that crops reach outside, and one in the middle."""
    labels = ellipsoid((13, 36, 43), (1, 3, 4), (3, 5, 5)).astype(np.uint8)
    labels[ellipsoid((13, 36, 43), (7, 24, 30), (3, 4, 5))] = 2
    return labels


# (labels, spacing): finer than 4 x 2 x 2 mm along some axes, coarser along others.
CASES = {"two kidneys": (two_kidneys(), (5.0, 2.9, 2.6)), "one wide kidney": (one_wide_kidney(), (5.0, 2.9, 2.6)),
         "at the edge": (at_the_edge(), (5.0, 2.9, 2.6)), "thin slices": (two_kidneys((13, 36, 43)), (2.2, 1.7, 2.3))}


class Spy:
    """A network that stores each input crop and predicts nothing."""

    def __init__(self):
        self.seen = []

    def __call__(self, inputs):
        self.seen.extend(inputs.numpy()[..., 0])
        return tf.zeros((*inputs.shape[:-1], 1))


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    labels, spacing_mm = CASES[request.param]
    study = tmp_path_factory.mktemp("parity")
    write_case(study, "case_00000", labels, spacing_mm=spacing_mm)
    return read_case(find_study(study)[0], CONFIG.spacing_mm)


def windowed(image):
    return scale_window(image, CONFIG.window_hu).numpy()


def centre_of(image, stage):
    """Returns the part of a record that the network sees without jitter."""
    return image[tuple(slice(room, length - room) for room, length in
                       zip(CONFIG.jitter(stage), image.shape, strict=True))]


def test_coarse_records_are_what_the_coarse_net_sees(case):
    spy = Spy()
    slices = steps.coarse_slices(case.ct, tf.constant(case.grid), CONFIG)
    steps.coarse_mask(spy, slices, CONFIG)
    batch = CONFIG.coarse.predict_batch
    positions = steps.even_positions(0, int(case.grid[0]), batch).numpy()
    seen = {start + index: image for start, images in zip(positions, np.reshape(
        spy.seen, (len(positions), batch, *spy.seen[0].shape)), strict=True) for index, image in enumerate(images)}
    found = list(examples.cut_coarse(case, CONFIG))
    assert len(found) == case.grid[0]
    for example in found:
        np.testing.assert_allclose(windowed(example.image), seen[example.start[0]], atol=HALF_A_UNIT)


def test_correction_records_are_what_the_correction_net_sees_around_that_centroid(case):
    found = list(examples.cut_correction(case, CONFIG))
    size = np.array(CONFIG.record_shape("correction"))
    centre = tf.constant([*(np.array(found[0].start[:2]) + size // 2), 0], tf.float32)
    nothing = steps.find_kidneys(tf.zeros((1, 1, 1), tf.bool), tf.ones(3), tf.zeros(3), tf.constant(case.grid), 0.0)
    spy = Spy()
    steps.correct(spy, case.ct, tf.constant(case.grid), centre, nothing, CONFIG)
    batch = CONFIG.correction.predict_batch
    positions = steps.even_positions(0, int(case.grid[2]), batch).numpy()
    planes = (start + np.arange(batch) for start in positions)
    seen = dict(zip(np.concatenate(list(planes)).tolist(), spy.seen, strict=True))
    for example in found:
        np.testing.assert_allclose(windowed(centre_of(example.image, "correction")), seen[example.start[2]],
                                   atol=HALF_A_UNIT)


def shown_to_the_fine_net(case):
    """Maps (kidney, z, y, x) to each crop that predict_kidneys passes to the network, for the true kidneys."""
    grid = tf.constant(case.grid)
    kidneys = examples.ground_truth_kidneys(case, CONFIG)
    region = steps.region_around(kidneys, case.ct, grid, CONFIG)
    seen = {}
    for kidney in range(len(kidneys.start)):
        only = slice(kidney, kidney + 1)
        one = kidneys._replace(start=kidneys.start[only], stop=kidneys.stop[only], centre=kidneys.centre[only])
        spy, batch = Spy(), CONFIG.fine.predict_batch
        steps.predict_kidneys(spy, region._replace(kidneys=one), CONFIG, batch)
        starts = crop.grid_of(*steps.kidney_blocks(kidneys, kidney, grid, CONFIG).positions).numpy()
        assert len(spy.seen) == len(starts) * batch
        for index, shown in enumerate(spy.seen):
            z, y, x = starts[index // batch]
            seen[kidney, z + index % batch, y, x] = shown
    return seen


@pytest.mark.parametrize("stage", ["fine", "tumor2d"])
def test_fine_and_tumor2d_records_are_the_crops_the_fine_net_sees_no_more_and_no_fewer(stage, case):
    seen = shown_to_the_fine_net(case)
    room = CONFIG.fine.jitter_voxels
    stored = {}
    for example in examples.CUTTERS[stage](case, CONFIG):
        z, y, x = example.start
        stored[example.kidney, z, y + room, x + room] = windowed(centre_of(example.image, "fine"))
    assert set(stored) <= set(seen)
    for place, image in stored.items():
        np.testing.assert_allclose(image, seen[place], atol=HALF_A_UNIT)
    # Further inputs are slices that fill up a batch.
    kidneys = examples.ground_truth_kidneys(case, CONFIG)
    for kidney, z, _, _ in set(seen) - set(stored):
        start, stop = (int(edge[kidney, 0]) for edge in (kidneys.start, kidneys.stop))
        assert not max(start - CONFIG.fine.extra_slices, 0) <= z < min(stop + CONFIG.fine.extra_slices, case.grid[0])


def test_tumor3d_records_are_tiles_of_the_region_that_tumor3d_runs_over(case):
    grid = tf.constant(case.grid)
    _, region, origin, _ = steps.region_around(examples.ground_truth_kidneys(case, CONFIG), case.ct, grid, CONFIG)
    patch = CONFIG.tumor3d.patch_voxels
    assert patch == CONFIG.tumor3d.tile_voxels
    shares = []
    for example in examples.cut_tumor3d(case, CONFIG):
        if example.kind == BOX:
            continue
        first = np.add(example.start, CONFIG.tumor3d.jitter_voxels)
        at = first - origin.numpy()
        spy = Spy()
        tiling.predict_tiles(spy, [region], tuple(tf.constant([int(place)]) for place in at), patch, tiling.BLOCK)
        # The cascade sees air beyond the region. A record sees the scan there, and air outside the volume.
        in_region = block_of(np.ones(region.shape), at, patch, 0) > 0
        alike = in_region | (block_of(np.ones(case.grid), first, patch, 0) == 0)
        stored = windowed(centre_of(example.image, "tumor3d"))
        np.testing.assert_allclose(stored[alike], spy.seen[0][alike], atol=HALF_A_UNIT)
        shares.append(alike.mean())
    assert np.mean(shares) > 0.8
