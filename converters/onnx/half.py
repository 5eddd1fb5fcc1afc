"""What of a float ONNX graph must stay float32 when the rest becomes float16, and why.

float16 has 11 bits and normal numbers from 2⁻¹⁴ = 6.1e-5 to 65,504. Two things of a Perceiver do not fit:

- The attention core over many tokens (scores, softmax, weighted sum). A row of 50,176 equal probabilities is 2.0e-5
  each: subnormal, so at best 8 bits are left of it, and a GPU that flushes subnormals to zero sees no input any more.
  The scores before it may pass 65,504, and an infinite score is a NaN after the softmax.
- A mean over all latents: its sum comes before its division.

Layer normalisation needs no exception: the operator LayerNormalization computes its statistics in float32 whatever its
input is (ONNX: ``stash_type`` 1, its default).
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

LONG_ROW = 2**10
"""From this many columns a softmax stays float32. The mean probability is then at most 2⁻¹⁰, with 4 bits of float16's
normal range left below it for what is less attended to."""

_PRODUCT = "MatMul"
_ON_THE_WAY = {"Reshape", "Mul", "Div", "Add", "Where", "Transpose"}
"""Operators that may stand between a softmax and the products before and after it."""


def float32_nodes(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes that stay float32, in graph order."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    columns = {
        value.name: value.type.tensor_type.shape.dim[-1].dim_value
        for value in (*inferred.value_info, *inferred.output)
        if value.type.tensor_type.shape.dim
    }
    kept = {node.name for node in model.graph.node if node.op_type == "ReduceMean"}
    for node in model.graph.node:
        if node.op_type == "Softmax" and columns[node.output[0]] >= LONG_ROW:
            kept |= {node.name, *_to_product(model.graph, node, back=True), *_to_product(model.graph, node, back=False)}
    return [node.name for node in model.graph.node if node.name in kept]


def _to_product(graph: onnx.GraphProto, softmax: onnx.NodeProto, *, back: bool) -> Iterator[str]:
    """The nodes from the softmax to the nearest product, that included; ``back`` is against the flow."""
    if back:
        makers = {name: node for node in graph.node for name in node.output}
        following = {node.name: [makers[name] for name in node.input if name in makers] for node in graph.node}
    else:
        users: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                users.setdefault(name, []).append(node)
        following = {node.name: [user for name in node.output for user in users.get(name, [])] for node in graph.node}
    front = list(following[softmax.name])
    while front:
        node = front.pop()
        if node.op_type == _PRODUCT:
            yield node.name
        elif node.op_type in _ON_THE_WAY:
            yield node.name
            front.extend(following[node.name])


def without_round_trips(model: onnx.ModelProto) -> onnx.ModelProto:
    """Join neighbours that both stay float32: the converter puts a cast to float16 and one back between them.

    Args:
        model: changed in place, and returned.
    """
    outputs = {value.name for value in model.graph.output}
    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    whole = {}
    for name, back in casts.items():
        there = casts.get(back.input[0])
        round_trip = (onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT)
        if there is not None and (_target(there), _target(back)) == round_trip and name not in outputs:
            whole[name] = there.input[0]
    nodes = [node for node in model.graph.node if node.output[0] not in whole]
    for node in nodes:
        node.input[:] = [whole.get(name, name) for name in node.input]
    used = outputs | {name for node in nodes for name in node.input}
    nodes = [node for node in nodes if node.op_type != "Cast" or node.output[0] in used]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]  # they must outlive their list
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def _target(cast: onnx.NodeProto) -> int:
    (to,) = (attribute.i for attribute in cast.attribute if attribute.name == "to")
    return int(to)
