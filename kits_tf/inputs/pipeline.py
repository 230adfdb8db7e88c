"""Turns the records of a stage into batches for its net.

    record   int16 image and uint8 labels, the size of the net's input plus a margin for jitter on every side
    batch    image float32 (batch, [z,] y, x, channels) from 0 to 1; target float32 (batch, [z,] y, x, 1), 0 or 1;
             record int32 (batch, 5): index of the case, position (z, y, x) of the record, kidney

In training, the target of tumor3d has a second channel, kidney with tumor, if the net has that output. A whole batch is
augmented at once. All planes of a 3D block (z, y, x) get the same in-plane warp: z becomes the channel axis, and is
only shifted, by whole slices.
"""

import math
import pathlib
from collections.abc import Callable, Sequence

import tensorflow as tf

from kits_tf import labels as classes
from kits_tf.config import CascadeConfig, plane_axes
from kits_tf.inputs import augment, sampling
from kits_tf.ops import crop
from kits_tf.ops.window import scale_window
from kits_tf.records import schema
from kits_tf.volume import AIR_HU

# Error of the fine net's outline that tumor2d must tolerate: two voxels of the paper's normalized spacing.
OUTLINE_ERROR_MM = 1.6


def _target(labels, stage):
    """Returns the target, float32: tumor for the tumor stages, kidney with tumor for the kidney stages."""
    wanted = classes.tumor if stage.startswith("tumor") else classes.foreground
    return tf.cast(wanted(labels), tf.float32)


def _kidney(labels):
    """Returns kidney with tumor, float32: an input of tumor2d and an optional second target of tumor3d."""
    return tf.cast(classes.foreground(labels), tf.float32)


def _to_planes(blocks):
    """Converts (batch, [z,] y, x) to (batch, y, x, z or 1)."""
    return blocks[..., None] if len(blocks.shape) == 3 else tf.transpose(blocks, (0, 2, 3, 1))


def _from_planes(planes, stage):
    """Inverts _to_planes; the result has one channel: (batch, y, x, z or 1) to (batch, [z,] y, x, 1)."""
    return tf.transpose(planes, (0, 3, 1, 2))[..., None] if stage == "tumor3d" else planes


def _centre(tensor, jitter, first_axis=1):
    """Crops consecutive axes by the jitter at both ends."""
    cut = [slice(None)] * first_axis + [slice(room, size - room) for room, size in
                                        zip(jitter, tensor.shape[first_axis:], strict=False)]
    return tensor[tuple(cut)]


def augmented(image: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, config: CascadeConfig, stage: str,
              rows: augment.Rows | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """Augments a batch of raw records at random; returns (image, target).

    Args:
        image: int16 (batch, [z,] y, x), of the record's static shape.
        labels: uint8, the same shape.
        seed: int32 (2,).
        config, stage: as in training_batches.
        rows: augment.Rows of these records within a larger batch; None if they are the whole batch.

    Returns:
        (image, target): float32, of the net's input size, with channels as in the module's docstring.
    """
    settings, seeds = config.stage(stage).training.augment, augment.split(seed, 4)
    rows = rows or augment.Rows(image.shape[0])
    *depth_jitter, first, second = config.jitter(stage)
    if depth_jitter:
        room = depth_jitter[0]
        start = rows[tf.random.stateless_uniform([rows.batch, 1], seeds[0], 0, 2 * room + 1, tf.int32)]
        slices = start + tf.range(image.shape[1] - 2 * room)
        image, labels = (tf.gather(block, slices, axis=1, batch_dims=1) for block in (image, labels))
    parts = [scale_window(image, config.window_hu), _target(labels, stage)]
    if stage == "tumor2d" or config.outputs(stage) > 1:
        parts.append(_kidney(labels))
    parts = [_to_planes(part) for part in parts]
    plane = augment.Plane(plane_axes(stage), config.plane_spacing_mm(stage), (first, second))
    moved = augment.warp(tf.concat(parts, axis=-1), settings, seeds[1], plane, rows)
    image, *masks = tf.split(_centre(moved, (first, second)), len(parts), axis=-1)
    target, *kidney = (tf.cast(mask >= 0.5, tf.float32) for mask in masks)
    image = augment.vary_intensity(image, settings, seeds[2], plane.spacing_mm, rows)
    if stage == "tumor2d":
        reach = max(1, round(OUTLINE_ERROR_MM / config.spacing_mm[1]))
        return tf.concat([image, augment.roughen(kidney[0], seeds[3], reach, rows=rows)], axis=-1), target
    targets = [_from_planes(mask, stage) for mask in (target, *kidney)]
    return _from_planes(image, stage), tf.concat(targets, axis=-1)


def plain(image: tf.Tensor, labels: tf.Tensor, config: CascadeConfig, stage: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Converts a batch of raw records to (image, target): the center crop, without augmentation."""
    image, labels = (_centre(block, config.jitter(stage)) for block in (image, labels))
    return _unvaried(image, labels, config, stage)


def _unvaried(image, labels, config, stage):
    channels = [scale_window(image, config.window_hu)]
    if stage == "tumor2d":
        channels.append(_kidney(labels))
    return tf.stack(channels, axis=-1), _target(labels, stage)[..., None]


def decode(serialized: tf.Tensor, shape: tuple[int, ...], cases: list[str]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Parses a serialized example; returns (image, labels, record).

    Args:
        serialized: scalar string tensor.
        shape: shape of the record.
        cases: ids of the cases, in the order of their indices.

    Returns:
        (image, labels, record): int16 and uint8 of the record's shape, as stored; record is int32 (5,): index of the
        case, position (z, y, x), kidney.
    """
    example = schema.parse(serialized, shape)
    case = tf.argmax(tf.constant(cases) == example["case"], output_type=tf.int32)
    return example["image"], example["labels"], tf.stack([case, *tf.unstack(example["start"]), example["kidney"]])


def drawn_examples(config: CascadeConfig, stage: str, paths: Sequence[pathlib.Path],
                   seed: int) -> Callable[[int], tf.data.Dataset]:
    """Returns a function from the epoch to an endless dataset of its serialized examples (sampling.draw)."""
    counts = sampling.count_kinds(paths)
    record_bytes = 3 * math.prod(config.record_shape(stage))
    alike = config.stage(stage).training.cases_alike
    return lambda epoch: sampling.draw(paths, counts, stage, record_bytes,
                                       tf.stack([seed, tf.cast(epoch, tf.int32)]), alike)


@tf.autograph.experimental.do_not_convert
def training_batches(config: CascadeConfig, stage: str, paths: Sequence[pathlib.Path], seed: int, first_step: int = 0,
                     part: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
    """Creates the dataset of augmented training batches of a run. The same seed gives the same batches.

    Args:
        stage: one of config.STAGES.
        paths: shards to draw from, one per case and named after it.
        first_step: step of the run to start from when training resumes. Complete epochs before it are not read; its own
            epoch's examples before it are read but not augmented.
        part: (index of this worker, number of workers); the dataset has only this worker's rows of every batch.

    Returns:
        tf.data.Dataset of (image, target, record), one batch for each remaining step of the run.
    """
    training, shape = config.stage(stage).training, config.record_shape(stage)
    draw = drawn_examples(config, stage, paths, seed)
    cases = [path.stem for path in paths]
    worker, workers = part
    own = training.batch_size // workers
    rows = augment.Rows(own, worker * own, training.batch_size)
    first_epoch, begun = divmod(first_step, training.steps_per_epoch)

    def epoch_of(epoch):
        chosen = draw(epoch).take(training.steps_per_epoch * training.batch_size)
        return chosen.skip(tf.cast(epoch == first_epoch, tf.int64) * begun * training.batch_size)

    def vary(number, batch):
        image, labels, record = batch
        # The negative sign makes these seeds differ from those of sampling.
        seeds = tf.stack([-1 - seed, tf.cast(number, tf.int32)])
        return *augmented(image, labels, seeds, config, stage, rows), record

    examples = tf.data.Dataset.range(first_epoch, training.epochs).flat_map(epoch_of)
    if workers > 1:
        examples = examples.batch(training.batch_size, drop_remainder=True).map(lambda batch: rows[batch]).unbatch()
    examples = examples.map(lambda one: decode(one, shape, cases), num_parallel_calls=tf.data.AUTOTUNE)
    batches = examples.batch(own, drop_remainder=True).enumerate(start=first_step)
    return batches.map(vary, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(4)


def _tiles(serialized, size):
    """Splits a BOX record into blocks of the net's input size that cover it; yields dicts as from schema.parse."""
    slab = schema.parse(serialized, (None,) * 3)
    positions = [crop.cover_axis(0, extent, tf.cast(extent - 1, tf.float32) / 2.0, length, 0)
                 for extent, length in zip(tf.unstack(tf.shape(slab["image"])), size, strict=True)]

    def cut(at):
        return {"image": crop.crop(slab["image"], at, size, AIR_HU), "labels": crop.crop(slab["labels"], at, size),
                "start": slab["start"] + at}

    return tf.data.Dataset.from_tensor_slices(crop.grid_of(*positions)).map(cut)


def _outside(starts, start, size):
    """Returns a mask, float32 (z, y, x), of a block's voxels that lie in none of the blocks at `starts`."""
    def within(axis):
        at = start[axis] + tf.range(size[axis]) - starts[:, axis, None]
        return tf.cast((at >= 0) & (at < size[axis]), tf.float32)

    return tf.cast(tf.einsum("nz,ny,nx->zyx", *map(within, range(3))) == 0, tf.float32)


@tf.autograph.experimental.do_not_convert
def held_out_batches(config: CascadeConfig, stage: str, paths: Sequence[pathlib.Path]) -> tf.data.Dataset:
    """Creates the dataset of validation batches: all examples in order, not augmented; the last batch may be smaller.

    For tumor3d the examples are blocks that cover the box in which it predicts, for the other stages all records.
    Examples may overlap, as do the crops of a large kidney. `first` masks voxels that an earlier example of the case
    already covered, so that each voxel is scored once.

    Args:
        config, stage: as in training_batches.
        paths: one shard per case.

    Returns:
        tf.data.Dataset of (image, target, case, first). `case` is int32 (batch,), the index in `paths`. `first` is
        float32 of the target's shape, 1 where no earlier example of the case contains the voxel, else 0.
    """
    shape, size = config.record_shape(stage), config.input_shape(stage)
    block = {"yx": (1, *size), "zy": (*size, 1)}[plane_axes(stage)] if len(size) == 2 else size

    def centre(serialized):
        example = schema.parse(serialized, shape)
        return example | {name: _centre(example[name], config.jitter(stage), 0) for name in ("image", "labels")}

    def examples_of(index, path):
        def tell(starts, example):
            first = tf.reshape(_outside(starts, example["start"], block), (*size, 1))
            return (tf.concat([starts, example["start"][None]], axis=0),
                    (example["image"], example["labels"], tf.cast(index, tf.int32), first))

        shard = tf.data.TFRecordDataset(path)
        if stage == "tumor3d":
            shard = shard.filter(lambda serialized: sampling.kind_of(serialized) == schema.BOX)
            examples = shard.flat_map(lambda serialized: _tiles(serialized, size))
        else:
            examples = shard.map(centre)
        return examples.scan(tf.zeros((0, 3), tf.int32), tell)

    def finish(image, labels, index, first):
        return *_unvaried(image, labels, config, stage), index, first

    dataset = tf.data.Dataset.from_tensor_slices([str(path) for path in paths]).enumerate().flat_map(examples_of)
    return dataset.batch(config.stage(stage).training.batch_size).map(finish).prefetch(4)
