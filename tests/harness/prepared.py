"""Small cases with kidneys drawn by hand, and a cascade small enough that several crops cover a kidney."""

import dataclasses

import numpy as np
from scipy import ndimage

from data_prep.preparation import prepare_study
from harness.ellipses import tiny_config
from kits_tf.records import dataset, schema
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

BASE = tiny_config()
CONFIG = dataclasses.replace(
    BASE, kidney_min_voxels=100,
    fine=dataclasses.replace(BASE.fine, margin_voxels=3, extra_slices=2),
    tumor3d=dataclasses.replace(BASE.tumor3d, centres_per_class=5, roi_pad_voxels=6))

# Coarser than the normalized 4 x 2 x 2 mm along every axis, so that scipy's linear interpolation is the answer, and of
# such sizes that no normalized voxel lies exactly halfway between two.
SHAPE, SPACING_MM, GRID = (13, 36, 43), (5.0, 2.9, 2.6), (16, 52, 56)


def ellipsoid(shape, centre, radii):
    places = np.meshgrid(*(np.arange(length) for length in shape), indexing="ij")
    return sum(((p - c) / r) ** 2 for p, c, r in zip(places, centre, radii, strict=True)) <= 1


def two_kidneys(shape=SHAPE):
    """Labels of two kidneys apart, the second with a tumor, and a crumb too small to be a kidney."""
    labels = ellipsoid(shape, (6, 15, 10), (4, 5, 6)).astype(np.uint8)
    labels[ellipsoid(shape, (7, 20, 31), (3, 5, 5))] = 1
    labels[ellipsoid(shape, (7, 22, 31), (2, 3, 3))] = 2
    labels[11, 33, 3] = 1
    return labels


def one_wide_kidney(shape=SHAPE):
    """Labels of one fused kidney, 44 normalized pixels wide, where a crop has 24; its tumor touches the edge."""
    labels = ellipsoid(shape, (6, 18, 20), (3, 6, 17)).astype(np.uint8)
    labels[ellipsoid(shape, (6, 18, 6), (2, 3, 3))] = 2
    return labels


def noisy_scan(shape=SHAPE, seed=0):
    """Grey values without any two neighbours alike: a crop from the wrong place cannot match. Nowhere below air."""
    return np.random.default_rng(seed).integers(-1000, 1500, shape).astype(np.int16)


def write_case(study, name, labels, seed=0, spacing_mm=SPACING_MM):
    """Writes one case of a study; returns its scan as stored."""
    ct = noisy_scan(labels.shape, seed)
    write_volume(study / name / "imaging.nii.gz", Volume.from_spacing(ct, spacing_mm))
    write_volume(study / name / "segmentation.nii.gz", Volume.from_spacing(labels, spacing_mm))
    return ct


def prepared_pair(folder, stages):
    """Writes a study of two cases into folder/study and prepares it for some stages in folder/data; returns folder."""
    for seed in range(2):
        write_case(folder / "study", f"case_0000{seed}", two_kidneys(), seed)
    assert prepare_study(folder / "study", folder / "data", stages, CONFIG, 0) == 0
    return folder


def by_scipy(array, grid=GRID):
    """A volume on a grid finer along every axis."""
    places = [(np.arange(size) + 0.5) * length / size - 0.5 for size, length in zip(grid, array.shape, strict=True)]
    places = np.meshgrid(*places, indexing="ij")
    return ndimage.map_coordinates(array.astype(np.float64), places, order=1, mode="nearest")


def classes_by_scipy(labels, grid=GRID):
    """Labels on a grid finer along every axis: tumor where it fills half a voxel, else kidney where both do."""
    return np.where(by_scipy(labels == 2, grid) >= 0.5, 2, by_scipy(labels >= 1, grid) >= 0.5).astype(np.uint8)


def read_records(data_dir, stage, case, config=CONFIG, box=False):
    """A shard as a list of dicts of NumPy arrays: what is drawn from it or, of tumor3d's, the box that follows."""
    shape = config.record_shape(stage)
    found = schema.read([dataset.shard_path(data_dir, stage, case)], (None,) * len(shape))
    chosen = [record for record in found.as_numpy_iterator() if (record["kind"] == schema.BOX) == box]
    assert box or all(record["image"].shape == shape for record in chosen)
    return chosen
