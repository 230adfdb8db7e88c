"""Loads one signature of a SavedModel, without the functions that only other signatures call.

tf.saved_model.load builds every function of a model as Python objects: 3.4 s for an exported cascade. The functions of
one signature go into TensorFlow as they are: 0.5 s (benchmarks/README.md). On a CPU, Grappler's optimizers are left out
too: they take 3 s at the first call and save nothing that one scan would notice.
"""

import itertools
import pathlib
import weakref
from collections.abc import Callable, Iterable

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, saved_model_pb2

_loaded = itertools.count()
VARIABLES = "net_variables"  # the attribute of cascade.module.Cascade that holds the nets' variables


def load(folder: pathlib.Path, model: saved_model_pb2.SavedModel, name: str,
         optimize: bool) -> Callable[..., dict[str, tf.Tensor]]:
    """Loads a signature.

    Args:
        folder: the SavedModel's folder.
        model: the content of its saved_model.pb.
        name: name of the signature.
        optimize: whether Grappler optimizes the graph at the first call.

    Returns:
        A function that takes the signature's inputs as keyword arguments and returns a dict of its outputs.

    Raises:
        KeyError: if there is no such signature.
        ValueError, tf.errors.OpError: if the model is damaged.
    """
    meta = model.meta_graphs[0]
    if name not in meta.signature_def:
        raise KeyError(name)
    signature = meta.signature_def[name]
    keys = _checkpoint_keys(meta, _called(meta, signature))
    if keys is None:  # no cascade of this package: its functions use other objects than our nets' variables
        return tf.saved_model.load(str(folder)).signatures[name]
    values = tf.raw_ops.RestoreV2(prefix=str(folder / "variables" / "variables"), tensor_names=list(keys),
                                  shape_and_slices=[""] * len(keys), dtypes=list(keys.values())) if keys else []
    return _function(meta, signature, [tf.Variable(value, trainable=False) for value in values], optimize)


def _called(meta, signature):
    """Returns the node of the graph that calls the signature's function."""
    places = {output.name.split(":")[0] for output in signature.outputs.values()}
    nodes = [node for node in meta.graph_def.node if node.name in places]
    if len(nodes) != 1 or not nodes[0].attr["f"].func.name:
        raise ValueError("a signature that is not one function")
    return nodes[0]


def _checkpoint_keys(meta, call):
    """Returns {name in the checkpoint: type} of the variables that a function is called with, in their order.

    Returns None if it is called with anything that is not in VARIABLES.
    """
    nodes, root = meta.object_graph_def.nodes, call.attr["f"].func.name
    children = {child.local_name: child.node_id for child in (nodes[0].children if nodes else ())}
    numbers = {child.node_id: child.local_name for child in nodes[children[VARIABLES]].children
               } if VARIABLES in children else {}
    bound = meta.object_graph_def.concrete_functions[root].bound_inputs
    if not set(bound) <= numbers.keys():
        return None
    return {f"{VARIABLES}/{numbers[node]}/.ATTRIBUTES/VARIABLE_VALUE": nodes[node].variable.dtype for node in bound}


def reachable(functions: dict, names: Iterable[str]) -> set[str]:
    """Returns the names of some functions of a library and of all functions that they call.

    Args:
        functions: dict from name to FunctionDef.
        names: names to begin with; those that are not in `functions` are left out.
    """
    waiting, found = [*names], set()
    while waiting:
        name = waiting.pop()
        if name in found or name not in functions:
            continue
        found.add(name)
        waiting += called(functions[name].node_def)
    return found


def called(nodes: Iterable) -> set[str]:
    """Returns the names of the operations of some nodes and of the functions that they call."""
    names = set()
    for node in nodes:
        names.add(node.op)  # an operation's name may be the name of a function
        for value in node.attr.values():
            names |= {value.func.name, *(function.name for function in value.list.func)}
    return names


def _new_names(names):
    """Returns new names for functions: a process has one function of a name, but may load several models."""
    number = next(_loaded)
    return {name: f"kits_tf_{number}_{name}" for name in sorted(names)}


def _rename(copy, function, names):
    """Copies a FunctionDef and gives it and the functions that it calls new names."""
    copy.CopyFrom(function)
    copy.signature.name = names[function.signature.name]
    for node in copy.node_def:
        node.op = names.get(node.op, node.op)
        for value in node.attr.values():
            for called in (value.func, *value.list.func):
                if called.name in names:
                    called.name = names[called.name]


def _function(meta, signature, variables, optimize):
    """Returns a function that runs a signature on variables."""
    call, functions = _called(meta, signature), {each.signature.name: each for each in meta.graph_def.library.function}
    root = functions[call.attr["f"].func.name]
    graph = tf.compat.v1.GraphDef(versions=meta.graph_def.versions)
    names = _new_names(reachable(functions, [root.signature.name]))
    for name in names:
        _rename(graph.library.function.add(), functions[name], names)
    caller = graph.node.add()
    caller.CopyFrom(call)
    caller.attr["f"].func.name = names[root.signature.name]
    del caller.input[:]
    for argument in root.signature.input_arg:
        graph.node.add(name=argument.name, op="Placeholder").attr["dtype"].type = argument.type
        caller.input.append(argument.name)
    inputs = {name: tf.TensorSpec(tensor.tensor_shape, tf.as_dtype(tensor.dtype), name)
              for name, tensor in signature.inputs.items()}
    outputs = {name: int(tensor.name.split(":")[1]) for name, tensor in signature.outputs.items()}

    def body(*tensors):
        given, held = dict(zip(inputs, tensors, strict=True)), iter(variables)
        arguments = {f"{name}:0": given[name] if name in given else tf.identity(next(held).handle)
                     for name in caller.input}
        results = [f"{caller.name}:{place}" for place in outputs.values()]
        return tf.graph_util.import_graph_def(graph, arguments, results, name="")

    kept = [tf.compat.v1.wrap_function(body, list(inputs.values()))]
    kept[0].add_to_graph()  # to TensorFlow's eager context, where the call below finds it
    types = [tensor.dtype for tensor in kept[0].outputs]
    plain = config_pb2.ConfigProto()
    plain.graph_options.rewrite_options.disable_meta_optimizer = True

    def run(**given):
        tensors = [given[name] for name in inputs]
        if optimize:
            return dict(zip(outputs, kept[0](*tensors), strict=True))
        held = [variable.handle for variable in variables]
        return dict(zip(outputs, tf.raw_ops.StatefulPartitionedCall(
            args=[*tensors, *held], Tout=types, f=kept[0], config_proto=plain.SerializeToString()), strict=True))

    weakref.finalize(run, kept.clear)  # at the end of the process, TensorFlow's functions must go before its modules
    return run
