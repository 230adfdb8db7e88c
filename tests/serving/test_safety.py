"""Tests that a model folder is only data: a graph that accesses files or code is refused before loading."""

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kits_tf.errors import InputError
from kits_tf.serving import Predictor, safety, signature


def save(function, folder, *arguments):
    module = tf.Module()
    module.function = tf.function(function)
    version = folder / "1"
    tf.saved_model.save(module, str(version), signatures=module.function.get_concrete_function(*arguments))
    (version / "assets").mkdir(exist_ok=True)
    (version / "assets" / "config.json").write_text("{}")
    return version


def write_file():
    tf.io.write_file("/tmp/never-written", "x")
    return tf.constant(1)


def within_a_branch(value):
    return tf.cond(value > 0, lambda: tf.io.read_file("/etc/hostname"), lambda: tf.constant(""))


def python():
    return tf.py_function(lambda: 1, [], tf.int32)


def data_set():
    return tf.data.TextLineDataset("/etc/hostname").reduce(tf.constant(""), lambda _, line: line)


def printed():
    tf.print("x", output_stream="file:///tmp/never-written")
    return tf.constant(1)


def save_weights():
    tf.raw_ops.SaveV2(prefix="/tmp/never-written", tensor_names=["x"], shape_and_slices=[""], tensors=[tf.constant(1)])
    return tf.constant(1)


def restore_weights(value):
    def step(at, _):
        found = tf.raw_ops.RestoreV2(prefix="/tmp/nowhere", tensor_names=["x"], shape_and_slices=[""],
                                     dtypes=[tf.int32])[0]
        return at + 1, tf.ensure_shape(found, ())

    return tf.while_loop(lambda at, _: at < 1, step, (value, value))[1]


def memory_of_a_file():
    return tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=(1,), memory_region_name="/etc/hostname")


@pytest.mark.parametrize(("function", "arguments", "operation"), [
    (write_file, (), "WriteFile"), (within_a_branch, (tf.TensorSpec((), tf.int32),), "ReadFile"),
    (python, (), "EagerPyFunc"), (data_set, (), "TextLineDataset"), (printed, (), "PrintV2"),
    (save_weights, (), "SaveV2"), (restore_weights, (tf.TensorSpec((), tf.int32),), "RestoreV2"),
    (memory_of_a_file, (), "ImmutableConst")],
    ids=lambda value: getattr(value, "__name__", None))
def test_an_operation_that_reaches_out_is_named_and_nothing_is_loaded(function, arguments, operation, tmp_path,
                                                                      monkeypatch):
    save(function, tmp_path, *arguments)
    monkeypatch.setattr(signature, "load", lambda *_, **__: pytest.fail("was loaded"))
    with pytest.raises(InputError, match=rf"1/saved_model\.pb: was not loaded, because .*{operation}") as caught:
        Predictor(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_an_export_computes_and_no_more(tiny_export):
    safety.check_graph(tiny_export[2])
    model = saved_model_pb2.SavedModel.FromString((tiny_export[2] / "saved_model.pb").read_bytes())
    assert len(model.meta_graphs[0].graph_def.library.function) > 10  # the graph is not trivial


@pytest.mark.parametrize("data", [b"", b"\0\xff\0", b"text"])
def test_bytes_that_are_no_graph_are_refused(data, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(data)
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded as an exported cascade"):
        Predictor(tmp_path)


def test_an_export_holds_no_program(tiny_export):
    """An export consists of a graph, its variables and JSON: no pickle, Keras archive or Python code."""
    files = {path.relative_to(tiny_export[2]).as_posix() for path in tiny_export[2].rglob("*") if path.is_file()}
    assert files >= {"saved_model.pb", "assets/config.json", "variables/variables.index"}
    assert {path.split("/")[-1].split(".")[-1].split("-")[0] for path in files} <= {
        "pb", "json", "index", "data", "tf_serving_warmup_requests"}
