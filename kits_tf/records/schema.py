"""TFRecord schema of training examples: serializes, parses and writes them.

An example is a crop of one case on the normalized grid (coarse: on the coarse grid): int16 Hounsfield units and uint8
class ids of the same shape. It is 2D, with axes (y, x) for axial and (z, y) for sagittal planes, or 3D (z, y, x).
"""

import dataclasses
import pathlib
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from kits_tf.files.atomic import cannot_write, whole_file

BOX = 3  # kind of records for validation only, never drawn: together they are the box in which a case is predicted


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One training example.

    Attributes:
        image: int16 Hounsfield units, 2D or 3D.
        labels: uint8 class ids, same shape as the image.
        case: id of the case, such as "case_00000".
        start: position (z, y, x) of the crop's first voxel on the normalized grid; may be outside the volume.
        kidney: index of the kidney in the crop's center, from 0; -1 if the stage does not crop around single kidneys.
        kind: class id by which examples are drawn: for tumor3d that of the crop's center, else the highest class id in
            the crop; or BOX.

    Raises:
        ValueError: if image and labels differ in shape or have another dtype.
    """

    image: np.ndarray
    labels: np.ndarray
    case: str
    start: tuple[int, int, int]
    kidney: int
    kind: int

    def __post_init__(self):
        if self.image.shape != self.labels.shape:
            raise ValueError(f"image {self.image.shape} and labels {self.labels.shape} must have the same shape")
        if self.image.dtype != np.int16 or self.labels.dtype != np.uint8:
            raise ValueError(f"image must be int16 and labels uint8, got {self.image.dtype} and {self.labels.dtype}")


def serialize(example: Example) -> bytes:
    """Returns the example as the bytes of a tf.train.Example."""

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
    """Parses a serialized example into tensors, in a graph or eagerly; the inverse of `serialize`.

    Args:
        serialized: scalar string tensor, one example.
        shape: the stage's crop shape, so that batches have static shapes; None for an axis whose size varies.

    Returns:
        dict of `image` int16 and `labels` uint8 of that shape, `case` string, and int32 `start` (3,), `kidney`, `kind`.

    Raises:
        tf.errors.InvalidArgumentError: at run time, if the example has another shape, even with as many voxels.
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
    """Writes a shard, atomically.

    Args:
        path: the .tfrecord file.
        examples: iterable of Example.

    Returns:
        The number of examples.

    Raises:
        RunError: if the disk is full or the folder cannot be written to.
    """
    count = 0
    with whole_file(path) as temporary:
        try:
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for example in examples:
                    writer.write(serialize(example))
                    count += 1
        except tf.errors.ResourceExhaustedError as error:  # TensorFlow's error for a full disk, and for lack of memory
            raise cannot_write(path, error.message.split("; ")[-1]) from error
    return count
