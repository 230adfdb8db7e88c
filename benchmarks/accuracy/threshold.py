"""Threshold baseline: windows of Hounsfield units, smoothing and connected components, tuned per phase.

Takes a study to tune on and one to label, each with study.json (kits_tf.phantoms); writes prediction_<id>.nii.gz per
case. The baseline shows how hard the cases are. It is tuned on the training cases' ground truth, knows every case's
phase, and works on a grid of about 3 mm.
"""

import itertools
import pathlib

import cc3d
import numpy as np
import tqdm
from scipy import ndimage

from benchmarks.accuracy import protocol
from kits_tf import labels as classes
from kits_tf.evaluation.scores import dice
from kits_tf.scans.nifti import read_labels, read_volume, write_labels
from kits_tf.volume import BODY_HU

GRID_MM = 3.0  # voxels are averaged over blocks of about this size
SMOOTH = (0.0, 0.7)  # Gaussian sigma in voxels of that grid
OPENINGS = (0, 1, 2)
LESION_OPENINGS = (0, 1, 2, 3)
GROWN = (0, 2, 5)  # voxels around the foreground that are searched too: a tumor may be outside the foreground's window
SMALLEST_KIDNEY_ML, LARGEST_KIDNEY_ML = 40.0, 2500.0
OFF_MIDLINE = 0.06  # least distance of a kidney's center from the body's midline, as a share of the picture's width
LOW_PERCENTILES, HIGH_PERCENTILES = (2, 8, 18, 30, 45), (55, 70, 82, 92, 98)  # candidates, of the true voxels' HU
COARSE = slice(None, None, 2)  # every second of these, for the whole foreground


class Case:
    """One case on the coarse grid: `hu` float32, and with `with_truth` also `truth` uint8."""

    def __init__(self, folder, with_truth):
        self.folder = folder
        volume = read_volume(folder / "imaging.nii.gz")
        self.shape = volume.voxels.shape
        self.steps = tuple(max(1, round(GRID_MM / step)) for step in volume.spacing_mm)
        self.voxel_ml = volume.voxel_ml * float(np.prod(self.steps))
        self.hu = _shrink(volume.voxels, self.steps)
        if with_truth:
            self.truth = read_labels(folder / "segmentation.nii.gz").voxels[
                tuple(slice(step // 2, None, step) for step in self.steps)][tuple(map(slice, self.hu.shape))]

    def enlarge(self, labels):
        """Resamples labels to the scan's own grid."""
        for axis, step in enumerate(self.steps):
            labels = np.repeat(labels, step, axis=axis)
        missing = [(0, max(0, size - got)) for size, got in zip(self.shape, labels.shape, strict=True)]
        return np.pad(labels, missing, mode="edge")[tuple(map(slice, self.shape))]


def _shrink(voxels, steps):
    """Averages voxels over blocks; incomplete blocks at the ends are dropped."""
    sizes = [size // step for size, step in zip(voxels.shape, steps, strict=True)]
    voxels = voxels[tuple(slice(size * step) for size, step in zip(sizes, steps, strict=True))]
    parts = [part for size, step in zip(sizes, steps, strict=True) for part in (size, step)]
    return voxels.reshape(parts).mean(axis=(1, 3, 5), dtype=np.float32)


def _grown(mask, radius):
    return ndimage.binary_dilation(mask, iterations=radius) if radius else mask


def _opened(mask, radius):
    return ndimage.binary_opening(mask, iterations=radius) if radius else mask


def foreground(case, settings):
    """Segments kidneys with tumors: the two largest components of a window off the midline, with closed gaps."""
    low, high, smooth, opening = settings
    hu = ndimage.gaussian_filter(case.hu, smooth) if smooth else case.hu
    numbered = cc3d.connected_components(_opened((hu > low) & (hu < high), opening), connectivity=6)
    body = np.nonzero((case.hu > BODY_HU).any(axis=(0, 1)))[0]
    middle, width = (body[0] + body[-1]) / 2 if len(body) else case.hu.shape[2] / 2, case.hu.shape[2]
    sizes = np.bincount(numbered.ravel())
    centres = cc3d.statistics(numbered)["centroids"]
    fitting = [index for index in range(1, len(sizes))
               if SMALLEST_KIDNEY_ML < sizes[index] * case.voxel_ml < LARGEST_KIDNEY_ML
               and abs(centres[index][2] - middle) > OFF_MIDLINE * width]
    chosen = sorted(fitting, key=lambda index: -sizes[index])[:2]
    return ndimage.binary_closing(np.isin(numbered, chosen), iterations=2)


def tumor(hu, region, settings):
    """Segments the tumor: the largest component of a window inside a region, after opening; takes smoothed HU."""
    low, high, opening = settings
    found = cc3d.connected_components(_opened(region & (hu > low) & (hu < high), opening), connectivity=6)
    sizes = np.bincount(found.ravel())
    return found == 1 + sizes[1:].argmax() if len(sizes) > 1 else np.zeros(hu.shape, bool)


def _windows(values, chosen=slice(None)):
    return itertools.product(np.percentile(values, LOW_PERCENTILES[chosen]), np.percentile(
        values, HIGH_PERCENTILES[chosen]))


def _best(options, score):
    scored = [(score(option), option) for option in options]
    return max(scored, key=lambda pair: pair[0])[1]


def tune(cases):
    """Finds the best foreground and tumor settings for cases of one phase, by mean Dice.

    Returns:
        (foreground settings, (smoothing, grown, tumor settings)).
    """
    kidney_hu = np.concatenate([case.hu[classes.foreground(case.truth)][::7] for case in cases])
    options = [(low, high, smooth, opening) for (low, high), smooth, opening in itertools.product(
        _windows(kidney_hu, COARSE), SMOOTH, OPENINGS)]
    whole = _best(options, lambda option: np.mean([
        dice(classes.foreground(case.truth), foreground(case, option)) for case in cases]))
    tumor_hu = np.concatenate([case.hu[classes.tumor(case.truth)][::3] for case in cases])
    crops = []
    for case in cases:
        inside = foreground(case, whole)
        box = ndimage.find_objects(_grown(inside | classes.foreground(case.truth), max(GROWN)).astype(np.uint8))[0]
        crops.append(({size: ndimage.gaussian_filter(case.hu[box], size) for size in SMOOTH},
                      {grown: _grown(inside[box], grown) for grown in GROWN}, classes.tumor(case.truth)[box]))
    options = [(smooth, grown, (low, high, opening)) for smooth, grown, (low, high), opening in itertools.product(
        SMOOTH, GROWN, _windows(tumor_hu), LESION_OPENINGS)]
    lesion = _best(options, lambda option: np.mean([
        dice(truth, tumor(smooth[option[0]], regions[option[1]], option[2])) for smooth, regions, truth in crops]))
    return whole, lesion


def label(case, settings):
    """Returns a case's uint8 class ids on the coarse grid."""
    whole, (smooth, grown, lesion) = settings
    inside = foreground(case, whole)
    found = tumor(ndimage.gaussian_filter(case.hu, smooth), _grown(inside, grown), lesion)
    return np.where(found, classes.TUMOR, inside * classes.KIDNEY).astype(np.uint8)


def by_phase(study):
    """Returns {phase: folders of its cases}, from study.json."""
    folders = {}
    for name, phase in protocol.phases(study).items():
        folders.setdefault(phase, []).append(pathlib.Path(study) / name)
    return folders


def predict_study(train, held_out, output):
    """Tunes on one study and labels another. Skips existing predictions."""
    wanted = {phase: [folder for folder in folders if not protocol.prediction(output, folder).exists()]
              for phase, folders in by_phase(held_out).items()}
    tuned = by_phase(train)
    for phase, folders in wanted.items():
        if not folders:
            continue
        settings = tune([Case(folder, True) for folder in tqdm.tqdm(tuned[phase], desc=f"reading {phase}")])
        for folder in tqdm.tqdm(folders, desc=f"labelling {phase}", unit="case"):
            case = Case(folder, False)
            write_labels(protocol.prediction(output, folder), case.enlarge(label(case, settings)),
                         like=folder / "imaging.nii.gz")
