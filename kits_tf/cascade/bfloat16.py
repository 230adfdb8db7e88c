"""Makes a net compute in bfloat16 with its float32 weights, by a change of its graph.

The convolutions and what lies between them (bias, activation, pooling, joining) compute in bfloat16; each weight is
rounded where it is used. The last convolution, whose outputs are the logits, and all after it stay float32, as in
Keras's policy mixed_bfloat16. Works for Keras models of either version and for other TensorFlow functions; what a net
computes inside functions that it calls stays float32.
"""

import tensorflow as tf

from kits_tf.cascade.tiling import Net

CONVOLUTIONS = {"Conv2D", "Conv3D"}
# Operations to compute in bfloat16, with the number of their inputs that become bfloat16; None: all but integers.
LOWERED = {"Conv2D": 2, "Conv3D": 2, "BiasAdd": 2, "AddV2": 2, "Mul": 2, "Relu": 1, "MaxPool": 1, "MaxPool3D": 1,
           "FusedBatchNormV3": 1, "Reshape": 1, "StridedSlice": 1, "Identity": 1, "Shape": 1, "Pack": None,
           "ConcatV2": None}
FLOAT32, BFLOAT16 = tf.float32.as_datatype_enum, tf.bfloat16.as_datatype_enum


def in_bfloat16(net: Net) -> Net:
    """Returns a net with the same variables that computes in bfloat16, from float32 images to float32 probabilities."""

    def call(inputs):
        traced = tf.function(net, autograph=False).get_concrete_function(tf.TensorSpec(inputs.shape, inputs.dtype))
        graph = traced.graph
        given = [inputs, *(tf.identity(captured) for captured in traced.captured_inputs)]
        result, = tf.graph_util.import_graph_def(
            _lowered(graph.as_graph_def()), {placeholder.name: tensor for placeholder, tensor in
                                             zip(graph.inputs, given, strict=True)}, [graph.outputs[0].name], name="")
        result.set_shape(graph.outputs[0].shape)
        return result

    return call


def _lowered(graph):
    """Returns a copy of a GraphDef, whose nodes are in topological order, that computes in bfloat16."""
    nodes = {node.name: node for node in graph.node}
    sources = {name: [each.split(":")[0] for each in node.input if not each.startswith("^")]
               for name, node in nodes.items()}
    leads = set()  # nodes before a convolution
    for name in reversed(nodes):
        if name in leads or nodes[name].op in CONVOLUTIONS:
            leads.update(sources[name])
    low: set[str] = set()
    for name, node in nodes.items():
        able = node.op in LOWERED and node.attr["T"].type == FLOAT32
        if able and (node.op == "Shape" or name in leads) and (
                node.op in CONVOLUTIONS or low & set(sources[name][:LOWERED[node.op]])):
            low.add(name)
    made = tf.compat.v1.GraphDef(versions=graph.versions, library=graph.library)
    casts: set[str] = set()
    for name, node in nodes.items():
        copy = made.node.add()
        copy.CopyFrom(node)
        if name in low:
            copy.attr["T"].type = BFLOAT16
        for place, source in enumerate(sources[name]):
            wanted = name in low and place < _float_inputs(node)
            has = source in low and nodes[source].op != "Shape" and not node.input[place].endswith((":1", ":2"))
            if wanted != has:
                copy.input[place] = _cast(made, casts, node.input[place], BFLOAT16 if wanted else FLOAT32)
    return made


def _float_inputs(node):
    """Returns the number of a node's first inputs that are of its type T."""
    count = LOWERED[node.op]
    return node.attr["N"].i if count is None else count


def _cast(graph, casts, tensor, to):
    """Adds a node that casts a tensor, once, and returns the node's name."""
    name = tensor.replace(":", "_") + ("_bfloat16" if to == BFLOAT16 else "_float32")
    if name not in casts:
        casts.add(name)
        node = graph.node.add(name=name, op="Cast", input=[tensor])
        node.attr["SrcT"].type, node.attr["DstT"].type = (FLOAT32, BFLOAT16) if to == BFLOAT16 else (BFLOAT16, FLOAT32)
    return name
