"""Makes small cases with block-shaped kidneys, and a config small enough that several crops cover a kidney."""

import dataclasses

import nibabel as nib
import numpy as np
from scipy import ndimage

from data_prep.preparation import prepare_study
from harness import ellipses
from harness.ellipses import tiny_config
from kits_tf.records import dataset, schema
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

BASE = tiny_config()
CONFIG = dataclasses.replace(
    BASE, kidney_min_voxels=100,
    fine=dataclasses.replace(BASE.fine, margin_voxels=3, extra_slices=2),
    tumor3d=dataclasses.replace(BASE.tumor3d, centres_per_class=5, roi_pad_voxels=6))

# Coarser than the normalized 4 x 2 x 2 mm along every axis, so that SciPy's linear interpolation gives the expected
# result. With these sizes, no normalized voxel lies exactly halfway between two voxels.
SHAPE, SPACING_MM, GRID = (13, 36, 43), (5.0, 2.9, 2.6), (16, 52, 56)


def ellipsoid(shape, centre, radii):
    places = np.meshgrid(*(np.arange(length) for length in shape), indexing="ij")
    return sum(((p - c) / r) ** 2 for p, c, r in zip(places, centre, radii, strict=True)) <= 1


def two_kidneys(shape=SHAPE):
    """Returns labels of two separate kidneys, the second with a tumor, and a component too small for a kidney."""
    labels = ellipsoid(shape, (6, 15, 10), (4, 5, 6)).astype(np.uint8)
    labels[ellipsoid(shape, (7, 20, 31), (3, 5, 5))] = 1
    labels[ellipsoid(shape, (7, 22, 31), (2, 3, 3))] = 2
    labels[11, 33, 3] = 1
    return labels


def one_wide_kidney(shape=SHAPE):
    """Returns labels of one fused kidney, 44 normalized pixels wide (a crop has 24); its tumor touches the edge."""
    labels = ellipsoid(shape, (6, 18, 20), (3, 6, 17)).astype(np.uint8)
    labels[ellipsoid(shape, (6, 18, 6), (2, 3, 3))] = 2
    return labels


def noisy_scan(shape=SHAPE, seed=0):
    """Returns random HU, so that a crop from the wrong position cannot match; no value is below air."""
    return np.random.default_rng(seed).integers(-1000, 1500, shape).astype(np.int16)


def write_case(study, name, labels, seed=0, spacing_mm=SPACING_MM):
    """Writes one case of a study; returns the stored scan."""
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


def rewrite(path, voxels=None, affine=None):
    """Replaces the voxels or the affine of a NIfTI file, and its header."""
    image = nib.load(path)
    voxels = np.asarray(image.dataobj) if voxels is None else voxels
    nib.save(nib.Nifti1Image(voxels, image.affine if affine is None else affine), path)


def by_scipy(array, grid=GRID):
    """Resamples a volume to a grid that is finer along every axis, with SciPy."""
    places = [(np.arange(size) + 0.5) * length / size - 0.5 for size, length in zip(grid, array.shape, strict=True)]
    places = np.meshgrid(*places, indexing="ij")
    return ndimage.map_coordinates(array.astype(np.float64), places, order=1, mode="nearest")


def classes_by_scipy(labels, grid=GRID):
    """Resamples labels to a finer grid: tumor if it fills half of a voxel, else kidney if both together do."""
    return np.where(by_scipy(labels == 2, grid) >= 0.5, 2, by_scipy(labels >= 1, grid) >= 0.5).astype(np.uint8)


def read_records(data_dir, stage, case, config=CONFIG, box=False):
    """Reads a shard as a list of dicts of NumPy arrays: its training examples, or tumor3d's box if `box` is true."""
    shape = config.record_shape(stage)
    found = ellipses.read([dataset.shard_path(data_dir, stage, case)], (None,) * len(shape))
    chosen = [record for record in found.as_numpy_iterator() if (record["kind"] == schema.BOX) == box]
    assert box or all(record["image"].shape == shape for record in chosen)
    return chosen
