"""Checks a SavedModel for unsafe operations before it is loaded.

TensorFlow advises to treat models as programs (its SECURITY.md). An exported cascade only computes. A graph that can
read or write files, run Python or use the network is not an exported cascade, so it is rejected.
"""

import pathlib
import re

from tensorflow.core.protobuf import saved_model_pb2

from kits_tf.errors import InputError, one_line
from kits_tf.serving import signature

_REACHES_OUT = re.compile(
    r".*(ReadFile|WriteFile|MatchingFiles|PyFunc|Reader|Dataset|Iterator|Summary|Rpc|FromTextFile|Library).*"
    r"|Print.*|Send|Recv|Collective.*|_.*|Restore|RestoreSlice|Save|SaveSlices|LoadAndRemapMatrix|Copy|Debug.*|Abort"
    r"|Config.*TPU.*|GenerateVocabRemapping|FixedUnigramCandidateSampler|ImmutableConst|(De|En)codeProto.*|FileSystem.*"
    r"|CheckpointHasTensor")
# Operations that read and write weights are allowed only where TensorFlow itself saves and restores a model.
_SAVES, _RESTORES = {"SaveV2", "MergeV2Checkpoints", "ShardedFilename"}, {"RestoreV2"}


def check_graph(folder: pathlib.Path) -> saved_model_pb2.SavedModel:
    """Reads a SavedModel and checks every operation of it.

    Args:
        folder: pathlib.Path with saved_model.pb.

    Returns:
        The content of saved_model.pb.

    Raises:
        InputError: if saved_model.pb cannot be read, or operations access files, Python or the network. The message
            names them.
    """
    path = folder / "saved_model.pb"
    try:
        model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except Exception as error:  # the module of protobuf's DecodeError depends on its version
        raise InputError(f"{path}: cannot be loaded as an exported cascade ({one_line(error)})") from error
    for meta in model.meta_graphs:
        found = _reaching_out(meta)
        if found:
            raise InputError(f"{path}: was not loaded, because its graph has operations that access files, Python or "
                             f"the network, which no exported cascade has: {', '.join(sorted(found))}")
    return model


def _reaching_out(meta):
    """Returns the set of names of a MetaGraphDef's unsafe operations."""
    graph, saver = meta.graph_def, meta.saver_def
    everywhere = {node.op for nodes in (graph.node, *(each.node_def for each in graph.library.function))
                  for node in nodes}
    found = {operation for operation in everywhere if _REACHES_OUT.fullmatch(operation)}
    carriers = _carriers(graph.library.function)
    functions = {each.signature.name: each for each in graph.library.function
                 if each.signature.name in carriers}
    spared = {saver.save_tensor_name.split(":")[0]: _SAVES, saver.restore_op_name.split(":")[0]: _RESTORES}
    outputs = [output.name for each in meta.signature_def.values() for output in each.outputs.values()]
    inputs = [name for node in graph.node for name in node.input]
    for name in (*outputs, *inputs):  # a save or restore node that a signature or a node uses would run in predictions
        spared.pop(name.lstrip("^").split(":")[0], None)
    for node in graph.node:
        found |= _operations([node], functions) & (_SAVES | _RESTORES) - spared.get(node.name, set())
    offered = [node for name in meta.object_graph_def.concrete_functions if name in functions
               for node in functions[name].node_def]
    return found | _operations(offered, functions) & (_SAVES | _RESTORES)


def _carriers(library):
    """Returns the names of the functions that save or restore weights, and of all that may call one of them.

    To look for names in a function's bytes is much faster than to look at every attribute of its operations. It may
    find too many functions, never too few.
    """
    found = {each.signature.name for each in library
             if any(node.op in _SAVES | _RESTORES for node in each.node_def)}
    texts, waiting = {each.signature.name: each.SerializeToString() for each in library}, found
    while waiting:
        names = [name.encode() for name in waiting]
        waiting = {caller for caller, text in texts.items() if caller not in found and any(
            name in text for name in names)}
        found = found | waiting
    return found


def _operations(nodes, functions):
    """Returns the set of names of all operations in some nodes and in the functions that they call."""
    inner = signature.reachable(functions, signature.called(nodes))
    return {node.op for part in (nodes, *(functions[name].node_def for name in inner)) for node in part}
