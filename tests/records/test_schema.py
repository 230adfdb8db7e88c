"""Tests records of training examples: they are read as they were written, or refused."""

import numpy as np
import pytest
import tensorflow as tf
from harness import ellipses

from kits_tf.records import schema

SHAPES = [(4, 6), (3, 4, 6)]


def example(shape=(4, 6), seed=0, **changes):
    rng = np.random.default_rng(seed)
    values = {"image": rng.integers(-32768, 32768, shape).astype(np.int16),
              "labels": rng.integers(0, 3, shape).astype(np.uint8),
              "case": f"case_{seed:05d}", "start": (seed, -7, 300), "kidney": -1, "kind": 2}
    return schema.Example(**values | changes)


@pytest.mark.parametrize("shape", SHAPES)
def test_examples_are_read_as_they_were_written(shape, tmp_path):
    written = [example(shape, seed, kidney=seed - 1, kind=seed) for seed in range(3)]
    paths = [tmp_path / "a.tfrecord", tmp_path / "b.tfrecord"]
    assert schema.write(paths[0], written[:2]) == 2
    assert schema.write(paths[1], written[2:]) == 1
    found = list(ellipses.read(paths, shape))
    assert len(found) == 3
    for one, other in zip(written, found, strict=True):
        assert np.array_equal(one.image, other["image"])
        assert np.array_equal(one.labels, other["labels"])
        assert (other["image"].dtype, other["labels"].dtype) == (tf.int16, tf.uint8)
        assert other["case"].numpy().decode() == one.case
        assert tuple(other["start"].numpy()) == one.start
        assert (other["kidney"], other["kind"]) == (one.kidney, one.kind)


@pytest.mark.parametrize("order", ["F", "a view"])
def test_an_image_is_stored_by_value_whatever_its_memory_looks_like(order):
    image = example().image
    odd = {"F": np.asfortranarray(image), "a view": np.repeat(image, 2, 1)[:, ::2]}
    parsed = schema.parse(schema.serialize(example(image=odd[order])), image.shape)
    assert np.array_equal(parsed["image"], image)


def test_parsing_knows_the_shape_in_a_graph():
    dataset = tf.data.Dataset.from_tensors(schema.serialize(example()))
    spec = dataset.map(lambda serialized: schema.parse(serialized, (4, 6))).element_spec
    assert spec["image"].shape == spec["labels"].shape == (4, 6)
    assert spec["start"].shape == (3,)


@pytest.mark.parametrize("shape", [(6, 4), (2, 12), (4, 5), (4, 7), (4, 6, 1)])
@pytest.mark.parametrize("graph", [False, True])
def test_a_record_of_another_shape_is_refused_not_reshaped(shape, graph):
    parse = tf.function(schema.parse) if graph else schema.parse
    with pytest.raises(tf.errors.InvalidArgumentError):
        parse(tf.constant(schema.serialize(example())), shape)


def test_a_record_of_another_shape_is_refused_in_tf_data(tmp_path):
    schema.write(tmp_path / "a.tfrecord", [example()])
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(ellipses.read([tmp_path / "a.tfrecord"], (6, 4)))


@pytest.mark.parametrize(("changes", "said"), [
    ({"labels": np.zeros((6, 4), np.uint8)}, r"\(6, 4\)"),
    ({"image": np.zeros((4, 6), np.float32)}, "float32"),
    ({"image": np.zeros((4, 6), ">i2")}, ">i2"),
    ({"labels": np.zeros((4, 6), bool)}, "bool"),
])
def test_an_example_that_does_not_fit_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        example(**changes)


def test_a_failure_midway_leaves_no_shard_and_keeps_the_old_one(tmp_path):
    def broken():
        yield example()
        raise RuntimeError("no more")

    path = tmp_path / "new" / "a.tfrecord"
    with pytest.raises(RuntimeError, match="no more"):
        schema.write(path, broken())
    assert list(path.parent.iterdir()) == []
    schema.write(path, [example(seed=1)])
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="no more"):
        schema.write(path, broken())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_no_examples_are_a_shard_of_none(tmp_path):
    assert schema.write(tmp_path / "a.tfrecord", []) == 0
    assert list(ellipses.read([tmp_path / "a.tfrecord"], (4, 6))) == []


def test_a_damaged_shard_is_not_read_silently(tmp_path):
    path = tmp_path / "a.tfrecord"
    schema.write(path, [example(seed=seed) for seed in range(3)])
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(tf.errors.DataLossError):
        list(ellipses.read([path], (4, 6)))
