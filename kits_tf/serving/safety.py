"""A model folder is data. A SavedModel is a graph, and a graph may hold operations that reach out of it.

TensorFlow's own advice is to treat models as programs (its SECURITY.md). The cascade computes and nothing else, so that
a graph that would read or write files, run Python, or talk to the network is not ours and is not loaded.
"""

import pathlib
import re

from tensorflow.core.protobuf import saved_model_pb2

from kits_tf.volume import InputError

# What restores the weights is spared: RestoreV2, SaveV2, MergeV2Checkpoints, ShardedFilename.
_REACHES_OUT = re.compile(
    r".*(ReadFile|WriteFile|MatchingFiles|PyFunc|Reader|Dataset|Iterator|Summary|Rpc|FromTextFile|Library).*"
    r"|Print.*|Send|Recv|_.*|Restore|RestoreSlice|Save|SaveSlices|LoadAndRemapMatrix|Copy|Debug.*|Abort|Config.*TPU.*")


def check_graph(folder: pathlib.Path) -> None:
    """Looks at every operation of a SavedModel before it is loaded.

    Args:
        folder: pathlib.Path with saved_model.pb.

    Raises:
        InputError: if saved_model.pb cannot be read, or an operation reaches out of the graph; it is named.
    """
    path = folder / "saved_model.pb"
    try:
        model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError has another home in each version
        raise InputError(f"{path}: cannot be loaded as an exported cascade "
                         f"({' '.join(str(error).split())[:200]})") from error
    for graph in (meta.graph_def for meta in model.meta_graphs):
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        found = sorted({node.op for node in nodes if _REACHES_OUT.fullmatch(node.op)})
        if found:
            raise InputError(f"{path}: holds the operation {', '.join(found)}, which reaches out of the graph, as no "
                             f"exported cascade does; it was not loaded")
