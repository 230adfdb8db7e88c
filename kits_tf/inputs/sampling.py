"""Draws training examples from the shards of a stage.

Shard paths go in, a dataset of serialized examples comes out. A stage draws in turn from groups of examples, defined by
the `kind` of their records:

    tumor3d    centered in background, in kidney, in tumor: a third each (Zhang et al. 2.1, after Kamnitsas et al. 2017)
    tumor2d    with tumor and without: half each (2.2)
    others     one group with all examples

Records of kind BOX are stored last in a shard and are not drawn. The same seed draws the same examples.
"""

import math
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kits_tf import labels as classes
from kits_tf.errors import InputError

SHARDS_AT_ONCE = 16  # shards that are read in parallel, one record of each in turn
WINDOW_BYTES = 2**27  # bytes of records that are held and shuffled at once, over all groups of a stage

_GROUPS = {"tumor3d": ((0,), (1,), (2,)), "tumor2d": ((2,), (0, 1))}


def groups(stage: str) -> tuple[tuple[int, ...], ...]:
    """Returns the groups of kinds from which a stage draws in turn, equally often."""
    return _GROUPS.get(stage, ((0, 1, 2),))


def kind_of(serialized: tf.Tensor) -> tf.Tensor:
    """Reads the kind of a serialized example (scalar string tensor): scalar int32."""
    return tf.cast(tf.io.parse_single_example(serialized, {"kind": tf.io.FixedLenFeature([], tf.int64)})["kind"],
                   tf.int32)


@tf.autograph.experimental.do_not_convert
def count_kinds(paths: Sequence[pathlib.Path]) -> np.ndarray:
    """Reads every shard once and counts its examples.

    Returns:
        int64 array (shards, 3): number of examples of kind 0, 1 and 2 in each shard; BOX records are not counted.

    Raises:
        InputError: if a shard is damaged; the message names it.
    """
    def count(path):
        kinds = tf.data.TFRecordDataset(path).map(kind_of)
        return kinds.reduce(tf.zeros(3, tf.int64), lambda sums, kind: sums + tf.one_hot(kind, 3, dtype=tf.int64))

    shards = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    counted = shards.map(count, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator()
    counts = []
    for path in paths:
        try:
            counts.append(next(counted))
        except (tf.errors.OpError, UnicodeDecodeError) as error:  # TensorFlow 2.15 cannot decode some error messages
            raise InputError(f"{path}: is damaged ({type(error).__name__}); rerun python -m data_prep to rewrite it"
                             ) from error
    return np.stack(counts)


def has_tumor(paths: Sequence[pathlib.Path]) -> bool:
    """Returns whether an example of a stage has a tumor; reads shard after shard until it finds one."""
    return any(count_kinds([path])[0, classes.TUMOR] for path in paths)


@tf.autograph.experimental.do_not_convert
def draw(paths: Sequence[pathlib.Path], counts: np.ndarray, stage: str, record_bytes: int, seed: tf.Tensor,
         alike: bool = False) -> tf.data.Dataset:
    """Draws examples endlessly.

    Shards are read in random order, SHARDS_AT_ONCE at a time. Each is read from a random position to its end and then
    from its start. An epoch seldom reaches the end of all shards, and starting at the first record would favor slices
    near one end of the scan.

    Args:
        paths: the shards.
        counts: the result of `count_kinds` for these shards.
        stage: one of config.STAGES.
        record_bytes: approximate size of one record.
        seed: int32 tensor (2,).
        alike: whether every case contributes the same number of examples of a group, namely the mean over the cases
            that have any. Examples of a case with fewer are repeated; of a case with more only a part is read, which
            depends on the seed.

    Returns:
        tf.data.Dataset of serialized examples from the stage's groups in turn. Empty groups are skipped.

    Raises:
        ValueError: if the shards hold no example.
    """
    filled = [kinds for kinds in groups(stage) if counts[:, kinds].sum()]
    if not filled:
        raise ValueError(f"the {len(paths)} shards of {stage} contain no example")
    streams = []
    for number, kinds in enumerate(filled):
        holding = [index for index in range(len(paths)) if counts[index, kinds].sum()]
        stream = _stream([str(paths[index]) for index in holding], counts[holding], kinds,
                         np.clip(WINDOW_BYTES // record_bytes // len(filled), 16, 2048),
                         tf.random.experimental.stateless_fold_in(seed, number), alike)
        streams.append(stream)
    if len(streams) == 1:
        return streams[0]
    return tf.data.Dataset.choose_from_datasets(streams, tf.data.Dataset.range(len(streams)).repeat())


def _stream(paths, counts, kinds, window, seed, alike):
    held, own = counts.sum(axis=1), counts[:, kinds].sum(axis=1)
    each = math.ceil(own.mean())
    order = tf.argsort(tf.random.stateless_uniform([len(paths)], seed))
    turns = tf.random.stateless_uniform([len(paths)], tf.random.experimental.stateless_fold_in(seed, 1))
    starts = tf.cast(turns * tf.constant(own, tf.float32), tf.int64)

    def read(index):
        shard = tf.data.TFRecordDataset(tf.gather(paths, index)).take(tf.gather(held, index))
        if len(kinds) < counts.shape[1]:
            shard = shard.filter(lambda serialized: tf.reduce_any(kind_of(serialized) == tf.constant(kinds)))
        start = tf.gather(starts, index)
        turned = shard.skip(start).concatenate(shard.take(start))
        return turned.repeat().take(each) if alike else turned

    stream = tf.data.Dataset.from_tensor_slices(order).interleave(
        read, cycle_length=min(SHARDS_AT_ONCE, len(paths)), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def shuffle(number, window):
        chance = tf.random.stateless_uniform(tf.shape(window), tf.stack([seed[0], tf.cast(number, tf.int32)]))
        return tf.gather(window, tf.argsort(chance))

    # Dataset.shuffle also depends on TensorFlow's global seed. This shuffle depends only on `seed`.
    return stream.batch(window).repeat().enumerate().map(shuffle).unbatch()
