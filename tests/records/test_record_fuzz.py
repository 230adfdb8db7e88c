"""Fuzz tests of record bytes: they give an example of the stage's shape and dtypes, or TensorFlow's error."""

import contextlib
import pathlib
import tempfile

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kits_tf.records import schema

SHAPE = (4, 6)
fixed = settings(deadline=None, max_examples=150, derandomize=True)
parse = tf.function(lambda serialized: schema.parse(serialized, SHAPE), input_signature=[tf.TensorSpec((), tf.string)])


def example():
    rng = np.random.default_rng(0)
    image, labels = rng.integers(-32768, 32768, SHAPE), rng.integers(0, 3, SHAPE)
    return schema.Example(image.astype(np.int16), labels.astype(np.uint8), "case_00001", (1, -7, 300), -1, 2)


WHOLE = schema.serialize(example())


def attempt(serialized):
    try:
        found = parse(tf.constant(serialized))
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError):  # TensorFlow 2.15 fails to format raw bytes
        return None
    assert found["image"].shape == found["labels"].shape == SHAPE
    assert (found["image"].dtype, found["labels"].dtype) == (tf.int16, tf.uint8)
    assert found["start"].shape == (3,)
    return found


@fixed
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_an_example(data):
    attempt(data)


@fixed
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4),
       st.none() | st.integers(0, len(WHOLE)))
def test_a_changed_record_is_refused_or_an_example(changes, cut):
    data = bytearray(WHOLE)
    for at, byte in changes:
        data[at] = byte
    attempt(bytes(data[:cut]))


@fixed
@given(st.dictionaries(st.sampled_from(["image", "labels", "shape", "case", "start", "kidney", "kind", "more"]),
                       st.lists(st.integers(-2**63, 2**63 - 1), max_size=4) | st.lists(st.floats(width=32), max_size=3)
                       | st.lists(st.binary(max_size=60), max_size=2)))
def test_any_features_are_refused_or_an_example(features):
    message = tf.train.Example.FromString(WHOLE)
    for name, values in features.items():
        feature = message.features.feature[name]
        feature.Clear()
        if all(isinstance(value, int) for value in values):
            feature.int64_list.value.extend(values)
        elif all(isinstance(value, bytes) for value in values):
            feature.bytes_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    attempt(message.SerializeToString())


@settings(fixed, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3), st.booleans())
def test_a_changed_shard_gives_whole_records_or_a_data_loss(changes, cut):
    """Records that pass TFRecord's checksums are unchanged; all others raise an error."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "a.tfrecord"
        schema.write(path, [example()] * 3)
        data = bytearray(path.read_bytes())
        for at, byte in changes:
            data[at % len(data)] = byte
        path.write_bytes(data[:changes[0][0] % len(data)] if cut else data)
        found = []
        with contextlib.suppress(tf.errors.DataLossError):
            for record in tf.data.TFRecordDataset(str(path)):
                found.append(record.numpy())
    assert found == [WHOLE] * len(found)
