"""Cuts a case into the training examples of the five stages and writes them as shards.

Input is a NormalizedCase, output are Examples: whole slices (coarse), sagittal planes around the kidneys (correction),
axial crops around one kidney (fine and tumor2d), 3D patches (tumor3d). The geometry comes from kits_tf.ops and the
cascade, so training and prediction use the same crops.
"""

import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from data_prep.cases import NormalizedCase, read_case
from data_prep.manifest import write_note
from kits_tf.cascade.kidney_steps import Kidneys, find_kidneys, kidney_blocks, tumor_pad
from kits_tf.config import CascadeConfig
from kits_tf.labels import CLASS_NAMES, foreground
from kits_tf.ops.crop import cover_axis
from kits_tf.ops.resample import pad_to_square
from kits_tf.records import dataset, schema
from kits_tf.records.schema import BOX, Example
from kits_tf.scans.discovery import Case
from kits_tf.volume import BODY_HU


def cut_coarse(case: NormalizedCase, config: CascadeConfig) -> Iterator[Example]:
    """Yields every axial slice, padded to a square with air and resized to the coarse grid: (y, x)."""
    size = config.coarse.size_voxels
    image, labels = case.coarse_image(size), case.coarse_classes(size)
    square = max(case.grid[1:])
    y, x = (-int(pad_to_square(length, square)) for length in case.grid[1:])
    for z in range(len(image)):
        yield Example(image[z], labels[z], case.name, (z, y, x), -1, int(labels[z].max()))


def cut_correction(case: NormalizedCase, config: CascadeConfig) -> Iterator[Example]:
    """Yields sagittal planes (z, y), cropped around the centroid of the ground truth.

    All planes that contain kidney are used, and the same number of randomly chosen planes without kidney (all of them
    if there are fewer); none if no labeled voxel remains after resampling. The planes of `cut_elsewhere` come first.
    """
    yield from cut_elsewhere(case, config, "correction")
    box_start, mask = case.foreground
    where = np.argwhere(mask)
    if not len(where):  # the labels are thinner than half a normalized voxel
        return
    centre = np.floor(where[:, :2].mean(axis=0) + box_start[:2] + 0.5).astype(int)
    size = np.array(config.record_shape("correction"))
    start = np.array([*(centre - size // 2), 0])
    block = np.array([*size, case.grid[2]])
    image, labels = case.image(start, block), case.classes(start, block)
    with_kidney = np.flatnonzero(foreground(labels).any(axis=(0, 1)))
    without = np.setdiff1d(np.arange(case.grid[2]), with_kidney)
    count = min(len(with_kidney), len(without))
    drawn = case.generator("correction").choice(without, count, replace=False)
    for x in sorted([*with_kidney.tolist(), *drawn.tolist()]):
        plane = labels[:, :, x]
        yield Example(image[:, :, x], plane, case.name, (int(start[0]), int(start[1]), x), -1, int(plane.max()))


def cut_elsewhere(case: NormalizedCase, config: CascadeConfig, stage: str) -> Iterator[Example]:
    """Yields planes of a stage centered on random voxels of the body: (y, x), or (z, y) for correction."""
    generator, count = case.generator(f"{stage} elsewhere"), config.elsewhere(stage)
    flat = generator.integers(0, tf.size(case.ct).numpy(), 64 * count)
    flat = flat[case.ct.numpy().ravel()[flat] > BODY_HU][:count]
    centres = (np.stack(np.unravel_index(flat, case.ct.shape), axis=1) + 0.5) * (case.grid / case.ct.shape)
    across = "zyx".index("x" if stage == "correction" else "z")
    size = np.insert(config.record_shape(stage), across, 1)
    for start in np.floor(centres).astype(int) - size // 2:
        image, labels = (np.take(block(start, size), 0, axis=across) for block in (case.image, case.classes))
        yield Example(image, labels, case.name, tuple(start.tolist()), -1, int(labels.max()))


def ground_truth_kidneys(case: NormalizedCase, config: CascadeConfig) -> Kidneys:
    """Finds the kidneys that the cascade would find in a perfect mask; the largest one if all are below the minimum."""
    start, mask = case.foreground
    mask, offset = tf.constant(mask), -tf.constant(start, tf.float32)
    found = find_kidneys(mask, tf.ones(3), offset, case.grid, config.kidney_min_voxels)
    if len(found.start) or not len(found.voxels):
        return found
    return find_kidneys(mask, tf.ones(3), offset, case.grid, float(tf.reduce_max(found.voxels)) - 0.5)


def cut_fine(case: NormalizedCase, config: CascadeConfig) -> Iterator[Example]:
    """Yields axial crops (y, x) around each kidney, with a margin for jitter.

    The slices are those of the kidney and a few beyond either pole. A kidney that is larger than one crop is covered by
    several. The stage tumor2d uses the same crops; its choice of slices and its roughened kidney mask are drawn during
    training (kits_tf/inputs). The crops of `cut_elsewhere` come first.
    """
    yield from cut_elsewhere(case, config, "fine")
    kidneys = ground_truth_kidneys(case, config)
    size = np.array(config.record_shape("fine"))
    room = np.array(config.jitter("fine"))
    for kidney in range(len(kidneys.start)):
        blocks = kidney_blocks(kidneys, kidney, case.grid, config)
        low = np.array([int(blocks.start[0]), *(blocks.start.numpy()[1:] - room)])
        high = np.array([int(blocks.stop[0]), *(blocks.stop.numpy()[1:] + room)])
        image, labels = case.image(low, high - low), case.classes(low, high - low)
        for y in blocks.positions[1].numpy() - blocks.start.numpy()[1]:
            for x in blocks.positions[2].numpy() - blocks.start.numpy()[2]:
                for z in range(high[0] - low[0]):
                    cut = np.s_[z, y:y + size[0], x:x + size[1]]
                    start = (int(low[0]) + z, int(low[1] + y), int(low[2] + x))
                    yield Example(image[cut], labels[cut], case.name, start, kidney, int(labels[cut].max()))


def cut_tumor3d(case: NormalizedCase, config: CascadeConfig) -> Iterator[Example]:
    """Yields patches (z, y, x) with a margin for jitter, then the box around the kidneys in slabs of one patch's depth.

    Up to `centres_per_class` patches are centered in background, in kidney and in tumor. The centers lie inside the
    box; the patches may extend beyond it. The slabs (kind BOX) are used to score a case of the validation set.

    Source: dense training as in DeepMedic (Kamnitsas et al. 2017), with equal numbers of centers per class.
    """
    if not tf.reduce_any(case.labels > 0):
        return
    pad = np.array(tumor_pad(config))
    start, stop = case.foreground_box()
    start, stop = np.maximum(start - pad, 0), np.minimum(stop + pad, case.grid)
    size = np.array(config.record_shape("tumor3d"))
    low = start - size // 2
    high = stop + size - size // 2
    image, labels = case.image(low, high - low), case.classes(low, high - low)
    inside = tuple(slice(a, b) for a, b in zip(start - low, stop - low, strict=True))

    def cut(first, shape, kind):
        at = tuple(slice(a, a + length) for a, length in zip(first - low, shape, strict=True))
        z, y, x = (int(value) for value in first)
        voxels, ids = np.ascontiguousarray(image[at]), np.ascontiguousarray(labels[at])
        return Example(voxels, ids, case.name, (z, y, x), -1, kind)

    generator = case.generator("tumor3d")
    for kind in CLASS_NAMES:
        centres = np.flatnonzero(labels[inside] == kind)
        count = min(config.tumor3d.centres_per_class, len(centres))
        for flat in np.sort(generator.choice(centres, count, replace=False)) if count else ():
            centre = start + np.unravel_index(flat, labels[inside].shape)
            yield cut(centre - size // 2, size, kind)
    depth = config.tumor3d.patch_voxels[0]
    middle = tf.cast(start[0] + stop[0] - 1, tf.float32) / 2.0
    for z in cover_axis(start[0], stop[0], middle, depth, 0).numpy():
        yield cut(np.array([z, *start[1:]]), (depth, *(stop - start)[1:]), BOX)


# tumor2d is trained on the crops of the fine stage.
CUTTERS = {"coarse": cut_coarse, "correction": cut_correction, "fine": cut_fine, "tumor3d": cut_tumor3d,
           "tumor2d": cut_fine}


def write_shards(case: Case, data_dir: str | pathlib.Path, stages: list[str], config: CascadeConfig,
                 found: dict) -> tuple[str, ...]:
    """Writes the shards of one case for some stages, and a note (manifest.write_note) after each complete shard.

    Args:
        case: kits_tf.scans.discovery.Case.
        data_dir: folder to write to.
        stages: names out of config.STAGES.
        config: CascadeConfig.
        found: manifest.sources of the case.

    Returns:
        The case's warnings (cases.NormalizedCase.warnings).

    Raises:
        InputError: as cases.read_case.
        RunError: if the disk is full.
    """
    normalized = read_case(case, config.spacing_mm, without_kidneys=config.fine.elsewhere > 0)
    made = {}
    for stage in stages:
        cut = CUTTERS[stage]
        if cut not in made:  # fine and tumor2d share their examples
            made[cut] = list(cut(normalized, config))
        count = schema.write(dataset.shard_path(data_dir, stage, case.name), made[cut])
        write_note(data_dir, stage, case.name, config.record_settings(stage), found, count)
    return normalized.warnings
