"""Records of a stage -> batches for its net.

    record   int16 image and uint8 labels, the input's size with room to jitter on every side
    batch    image float32 (batch, [z,] y, x, channels) from 0 to 1, target float32 (batch, [z,] y, x, 1), 0 or 1, in
             training for tumor3d with a second channel, kidney with tumor, if the net has such an output;
             record int32 (batch, 5): index of the case, position (z, y, x) of the record, kidney

Whole batches are augmented at once. A block (z, y, x) moves as a stack of planes, all alike: z goes to the channels,
and is only shifted by whole slices.
"""

import math
import pathlib
from collections.abc import Callable, Sequence

import tensorflow as tf

from kits_tf import labels as classes
from kits_tf.config import CascadeConfig
from kits_tf.inputs import augment, paste, sampling
from kits_tf.io import records
from kits_tf.ops import crop
from kits_tf.ops.window import scale_window
from kits_tf.volume import AIR_HU

# How far off the fine net's outline may be, for tumor2d to live with: two normalized voxels of the paper's.
OUTLINE_ERROR_MM = 1.6
TUMORS_PER_CASE = 32  # examples with tumor that one case gives in its turn: no giant is pasted more often than others
DONORS = 99  # tells the draw of tumors to paste from that of examples


def plane_axes(stage: str) -> str:
    """The axes of the plane that augmentation turns and mirrors: "yx", and "zy" in the sagittal planes."""
    return "zy" if stage == "correction" else "yx"


_MASKS = {"tumor": classes.tumor, "kidney": classes.foreground}  # kidney with tumor


def _learned(config, stage):
    """The masks that a stage's net has as outputs in training."""
    target = ("tumor",) if stage.startswith("tumor") else ("kidney",)
    return ("tumor", "kidney") if config.outputs(stage) > 1 else target


def _to_planes(blocks):
    """(batch, [z,] y, x) -> (batch, y, x, z or 1)."""
    return blocks[..., None] if len(blocks.shape) == 3 else tf.transpose(blocks, (0, 2, 3, 1))


def _from_planes(planes, stage):
    """The inverse, with one channel: (batch, y, x, z or 1) -> (batch, [z,] y, x, 1)."""
    return tf.transpose(planes, (0, 3, 1, 2))[..., None] if stage == "tumor3d" else planes


def _centre(tensor, jitter, first_axis=1):
    """Cuts the jitter off both ends of consecutive axes."""
    cut = [slice(None)] * first_axis + [slice(room, size - room) for room, size in
                                        zip(jitter, tensor.shape[first_axis:], strict=False)]
    return tensor[tuple(cut)]


def _moved(image, labels, masks, settings, seed, config, stage, rows):
    """Raw records and masks of their labels, moved at random and cut to the input's size, as planes: masks linearly."""
    seeds = augment.split(seed, 4)
    *depth_jitter, first, second = config.jitter(stage)
    if depth_jitter:
        room = depth_jitter[0]
        start = rows[tf.random.stateless_uniform([rows.batch, 1], seeds[0], 0, 2 * room + 1, tf.int32)]
        slices = start + tf.range(image.shape[1] - 2 * room)
        image, labels = (tf.gather(block, slices, axis=1, batch_dims=1) for block in (image, labels))
    parts = [scale_window(image, config.window_hu), *(_MASKS[name](labels) for name in masks)]
    planes = tf.concat([_to_planes(tf.cast(part, tf.float32)) for part in parts], axis=-1)
    axes, spacing_mm = plane_axes(stage), plane_spacing_mm(config, stage)
    moved = augment.warp(planes, settings, seeds[1], (first, second), axes, spacing_mm, rows)
    return tf.split(_centre(moved, (first, second)), len(parts), axis=-1)


def augmented(image: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, config: CascadeConfig, stage: str,
              rows: augment.Rows | None = None, donors: tuple[tf.Tensor, tf.Tensor] | None = None
              ) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch of raw records -> (image, target), at random.

    Args:
        image: int16 (batch, [z,] y, x), of the record's static shape.
        labels: uint8, the same shape.
        seed: int32 (2,).
        config, stage: as in training_batches.
        rows: augment.Rows that these are of a larger batch; None for a whole one.
        donors: image and labels of as many other records, whose tumors may be pasted into these; None for none.
    """
    settings, seeds = config.stage(stage).training.augment, augment.split(seed, 4)
    rows = rows or augment.Rows(image.shape[0])
    learned = _learned(config, stage)
    # tumor2d reads the kidney; to paste a tumor takes either mask.
    names = ("tumor", "kidney") if donors is not None or stage == "tumor2d" else learned
    planes = _moved(image, labels, names, settings, seed, config, stage, rows)
    if donors is not None:
        theirs, pasting = (tf.random.experimental.stateless_fold_in(seed, number) for number in (1, 2))
        others = _moved(*donors, names, paste.turned(settings), theirs, config, stage, rows)
        planes = paste.paste_tumors(planes, others, settings.paste_tumor, config.window_hu, pasting, rows)
    masks = {name: tf.cast(mask >= 0.5, tf.float32) for name, mask in zip(names, planes[1:], strict=True)}
    image = augment.vary_intensity(planes[0], settings, seeds[2], plane_spacing_mm(config, stage), rows)
    if stage == "tumor2d":
        reach = max(1, round(OUTLINE_ERROR_MM / config.spacing_mm[1]))
        return tf.concat([image, augment.roughen(masks["kidney"], seeds[3], reach, rows=rows)], axis=-1), masks["tumor"]
    targets = [_from_planes(masks[name], stage) for name in learned]
    return _from_planes(image, stage), tf.concat(targets, axis=-1)


def plain(image: tf.Tensor, labels: tf.Tensor, config: CascadeConfig, stage: str) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch of raw records -> (image, target): the centre crop, nothing varied."""
    image, labels = (_centre(block, config.jitter(stage)) for block in (image, labels))
    return _unvaried(image, labels, config, stage)


def _unvaried(image, labels, config, stage):
    names = ["kidney"] if stage == "tumor2d" else []
    target, *masks = (tf.cast(_MASKS[name](labels), tf.float32) for name in (_learned(config, stage)[0], *names))
    return tf.stack([scale_window(image, config.window_hu), *masks], axis=-1), target[..., None]


def decode(serialized: tf.Tensor, shape: tuple[int, ...], cases: list[str]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Serialized examples -> (image, labels, record): as stored, and which one the first is (see above).

    Args:
        serialized: string tensor (number,), as drawn_examples gives them.
        shape: of a record.
        cases: ids of the cases, in the order of their indices.

    Returns:
        int16 and uint8 (number, *shape), and int32 (5,).
    """
    examples = [records.parse(one, shape) for one in tf.unstack(serialized)]
    image, labels = (tf.stack([example[name] for example in examples]) for name in ("image", "labels"))
    first = examples[0]
    case = tf.argmax(tf.constant(cases) == first["case"], output_type=tf.int32)
    return image, labels, tf.stack([case, *tf.unstack(first["start"]), first["kidney"]])


def apart(image: tf.Tensor, labels: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Batches (batch, number, ...) of what `decode` gives -> (image, labels) of the examples, then of any donors."""
    return list(zip(tf.unstack(image, axis=1), tf.unstack(labels, axis=1), strict=True))


def plane_spacing_mm(config: CascadeConfig, stage: str) -> tuple[float, ...]:
    """Voxel size along `plane_axes`."""
    return tuple(config.spacing_mm["zyx".index(axis)] for axis in plane_axes(stage))


def drawn_examples(config: CascadeConfig, stage: str, paths: Sequence[pathlib.Path],
                   seed: int) -> Callable[[int], tf.data.Dataset]:
    """A function of the epoch that gives its examples, without end: string tensors (1,) or, if tumors are pasted,
    (2,): a serialized example, and another that a tumor may come from."""
    counts = sampling.count_kinds(paths)
    record_bytes = 3 * math.prod(config.record_shape(stage))
    pasted = config.stage(stage).training.augment.paste_tumor and counts[:, 2].any()

    def of_epoch(epoch):
        seeds = tf.stack([seed, tf.cast(epoch, tf.int32)])
        drawn = [sampling.draw(paths, counts, sampling.groups(stage), record_bytes, seeds)]
        if pasted:
            # Not the numbers that tell the groups of one draw apart.
            other = tf.random.experimental.stateless_fold_in(seeds, DONORS)
            drawn.append(sampling.draw(paths, counts, sampling.WITH_TUMOR, record_bytes, other, TUMORS_PER_CASE))
        return tf.data.Dataset.zip(tuple(drawn)).map(lambda *serialized: tf.stack(serialized))

    return of_epoch


def training_batches(config: CascadeConfig, stage: str, paths: Sequence[pathlib.Path], seed: int, first_step: int = 0,
                     part: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
    """Augmented batches for training, epoch after epoch; the same seed gives the same.

    Args:
        config: CascadeConfig.
        stage: one of config.STAGES.
        paths: shards to draw from, one per case and named after it.
        seed: int.
        first_step: of the run: batches before it are skipped, when training resumes; epochs without being read, what
            is left without being varied.
        part: (this worker, workers): it gives this worker's rows of every batch.

    Returns:
        tf.data.Dataset of (image, target, record), a batch for each remaining step of the run.
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
        # The sign keeps these seeds apart from those that draw examples.
        seeds = tf.stack([-1 - seed, tf.cast(number, tf.int32)])
        own, *donors = apart(image, labels)
        return *augmented(*own, seeds, config, stage, rows, *donors), record

    examples = tf.data.Dataset.range(first_epoch, training.epochs).flat_map(epoch_of)
    if workers > 1:
        examples = examples.batch(training.batch_size, drop_remainder=True).map(lambda batch: rows[batch]).unbatch()
    examples = examples.map(lambda one: decode(one, shape, cases), num_parallel_calls=tf.data.AUTOTUNE)
    batches = examples.batch(own, drop_remainder=True).enumerate(start=first_step)
    return batches.map(vary, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(4)


def _tiles(serialized, size):
    """What is scored of a BOX record: blocks of the net's size that cover it, as dicts like records.parse's."""
    slab = records.parse(serialized, (None,) * 3)
    positions = [crop.cover_axis(0, extent, tf.cast(extent - 1, tf.float32) / 2.0, length, 0)
                 for extent, length in zip(tf.unstack(tf.shape(slab["image"])), size, strict=True)]

    def cut(at):
        return {"image": crop.crop(slab["image"], at, size, AIR_HU), "labels": crop.crop(slab["labels"], at, size),
                "start": slab["start"] + at}

    return tf.data.Dataset.from_tensor_slices(crop.grid_of(*positions)).map(cut)


def _outside(starts, start, size):
    """Which voxels of a block lie in none of the blocks of the same size that begin elsewhere: float32 (z, y, x)."""
    def within(axis):
        at = start[axis] + tf.range(size[axis]) - starts[:, axis, None]
        return tf.cast((at >= 0) & (at < size[axis]), tf.float32)

    return tf.cast(tf.einsum("nz,ny,nx->zyx", *map(within, range(3))) == 0, tf.float32)


def held_out_batches(config: CascadeConfig, stage: str, paths: Sequence[pathlib.Path]) -> tf.data.Dataset:
    """All that is scored of the held-out cases, unvaried and in order, the last batch smaller.

    For tumor3d these are blocks that cover the box in which it predicts, for the other stages all records. They may
    overlap, as do the crops that cover a large kidney: `first` tells each voxel of a case once.

    Args:
        config, stage: as above.
        paths: one shard per case.

    Returns:
        tf.data.Dataset of (image, target, index of the case in `paths`: int32, first: float32 like target, 1 where no
        earlier example of the case holds the voxel).
    """
    shape, size = config.record_shape(stage), config.input_shape(stage)
    block = {"yx": (1, *size), "zy": (*size, 1)}[plane_axes(stage)] if len(size) == 2 else size

    def centre(serialized):
        example = records.parse(serialized, shape)
        return example | {name: _centre(example[name], config.jitter(stage), 0) for name in ("image", "labels")}

    def examples_of(index, path):
        def tell(starts, example):
            first = tf.reshape(_outside(starts, example["start"], block), (*size, 1))
            return (tf.concat([starts, example["start"][None]], axis=0),
                    (example["image"], example["labels"], tf.cast(index, tf.int32), first))

        shard = tf.data.TFRecordDataset(path)
        if stage == "tumor3d":
            shard = shard.filter(lambda serialized: sampling.kind_of(serialized) == records.BOX)
            examples = shard.flat_map(lambda serialized: _tiles(serialized, size))
        else:
            examples = shard.map(centre)
        return examples.scan(tf.zeros((0, 3), tf.int32), tell)

    def finish(image, labels, index, first):
        return *_unvaried(image, labels, config, stage), index, first

    dataset = tf.data.Dataset.from_tensor_slices([str(path) for path in paths]).enumerate().flat_map(examples_of)
    return dataset.batch(config.stage(stage).training.batch_size).map(finish).prefetch(4)
