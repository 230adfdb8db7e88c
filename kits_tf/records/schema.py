"""The TFRecord schema of training examples: writing and parsing side by side.

An example is a crop of one case on the normalized grid (coarse: on the coarse grid): int16 Hounsfield units and uint8
class ids of the same shape, 2D (in the stage's axis order: y, x for axial slices, z, y for sagittal ones) or 3D
(z, y, x).
"""

import dataclasses
import pathlib
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from kits_tf.files.atomic import cannot_write, whole_file

BOX = 3  # the kind of records that are scored and never drawn: together, they are the box that a case is predicted in


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One training example.

    Attributes:
        image: int16 Hounsfield units, 2D or 3D.
        labels: uint8 class ids, the image's shape.
        case: id of the case, as "case_00000".
        start: position (z, y, x) of the crop's first voxel on the normalized grid; may lie outside the volume.
        kidney: which kidney of the case the crop was laid around, 0 up; -1 where the stage knows none.
        kind: the class it stands for when examples are drawn: for tumor3d that of its centre, else the highest in it;
            or BOX.
    """

    image: np.ndarray
    labels: np.ndarray
    case: str
    start: tuple[int, int, int]
    kidney: int
    kind: int

    def __post_init__(self):
        if self.image.shape != self.labels.shape:
            raise ValueError(f"image {self.image.shape} and labels {self.labels.shape} must have one shape")
        if self.image.dtype != np.int16 or self.labels.dtype != np.uint8:
            raise ValueError(f"image must be int16 and labels uint8, got {self.image.dtype} and {self.labels.dtype}")


def serialize(example: Example) -> bytes:
    """The example as bytes of a tf.train.Example."""

    def ints(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def data(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {
        "image": data(np.ascontiguousarray(example.image, "<i2").tobytes()),
        "labels": data(np.ascontiguousarray(example.labels).tobytes()),
        "shape": ints(example.image.shape),
        "case": data(example.case.encode()),
        "start": ints(example.start),
        "kidney": ints([example.kidney]),
        "kind": ints([example.kind]),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def parse(serialized: tf.Tensor, shape: tuple[int, ...]) -> dict[str, tf.Tensor]:
    """The example back as tensors, in a graph or eagerly.

    Args:
        serialized: scalar string tensor, one example.
        shape: the stage's crop shape, known beforehand, so that batches have static shapes; None where it varies.

    Returns:
        dict of `image` int16 and `labels` uint8 of that shape, `case` string, `start` (3,), `kidney` and `kind` int32.

    Raises:
        tf.errors.InvalidArgumentError: when run, if the example was stored in another shape, be it of as many voxels.
    """
    fixed = tf.io.FixedLenFeature
    found = tf.io.parse_single_example(serialized, {
        "image": fixed([], tf.string),
        "labels": fixed([], tf.string),
        "shape": fixed([len(shape)], tf.int64),
        "case": fixed([], tf.string),
        "start": fixed([3], tf.int64),
        "kidney": fixed([], tf.int64),
        "kind": fixed([], tf.int64),
    })

    def voxels(name, dtype):
        return tf.ensure_shape(tf.reshape(tf.io.decode_raw(found[name], dtype), found["shape"]), shape)

    return {
        "image": voxels("image", tf.int16),
        "labels": voxels("labels", tf.uint8),
        "case": found["case"],
        "start": tf.cast(found["start"], tf.int32),
        "kidney": tf.cast(found["kidney"], tf.int32),
        "kind": tf.cast(found["kind"], tf.int32),
    }


def write(path: str | pathlib.Path, examples: Iterable[Example]) -> int:
    """Writes a shard, whole or not at all.

    Args:
        path: the .tfrecord file.
        examples: iterable of Example.

    Returns:
        How many there were.

    Raises:
        RunError: if the disk is full.
    """
    count = 0
    with whole_file(path) as temporary:
        try:
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for example in examples:
                    writer.write(serialize(example))
                    count += 1
        except tf.errors.ResourceExhaustedError as error:  # TensorFlow's word for a full disk, and for no memory
            raise cannot_write(path, error.message.split("; ")[-1]) from error
    return count


def read(paths: Iterable[str | pathlib.Path], shape: tuple[int, ...]) -> tf.data.Dataset:
    """A tf.data.Dataset of parsed examples, shard after shard."""
    dataset = tf.data.TFRecordDataset([str(path) for path in paths])
    return dataset.map(lambda serialized: parse(serialized, shape))
