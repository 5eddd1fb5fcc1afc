"""Weights around the TFLite converter, not through it: they enter its graph as inputs and become constants afterwards.

The converter copies constants many times over: the README model took 12 s and 1.7 GB with them, and takes 1 s and
0.2 GB without.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.converters.tflite.pack import pack
from perceiver_edge.converters.trace import Traced

_INPUT = "weight_{}"
"""The names of the inputs that stand for weights, while they do."""


def without_weights(traced: Traced) -> tuple[tf.types.experimental.ConcreteFunction, dict[str, np.ndarray]]:
    """The traced function with the matrices of its products as further inputs, and these matrices.

    They are ``[out, in]``, as FULLY_CONNECTED stores them, and named after their first product (tied weights are one
    matrix). All else that the trace captured, such as biases, is small or is folded, and becomes literals.
    """
    graph = traced.function.graph
    products = _products(graph)
    values = {placeholder.name: tensor for tensor, placeholder in graph.captures}
    literals = {name: tensor for name, tensor in values.items() if name not in products}
    flipped = {operation.name for operations in products.values() for operation in operations}
    definition = graph.as_graph_def()
    for node in definition.node:
        if node.name in flipped:
            node.attr["transpose_b"].b = True

    inputs = graph.inputs[: len(traced.input_names)]
    signature = [tf.TensorSpec(t.shape, t.dtype, name) for t, name in zip(inputs, traced.input_names, strict=True)]
    signature += [
        tf.TensorSpec(values[name].shape[::-1], values[name].dtype, _INPUT.format(index))
        for index, name in enumerate(products)
    ]

    def function(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        feeds = dict(zip([*(t.name for t in inputs), *products], tensors, strict=True))
        feeds |= {name: tf.constant(tensor.numpy()) for name, tensor in literals.items()}
        outputs = [traced.function.outputs[0].name]
        (output,) = tf.graph_util.import_graph_def(definition, input_map=feeds, return_elements=outputs, name="")
        return {traced.output_name: output}

    weights = {
        f"{first.name}/weight": np.ascontiguousarray(values[name].numpy().T) for name, (first, *_) in products.items()
    }
    return tf.function(function, input_signature=signature, autograph=False).get_concrete_function(), weights


def _products(graph: tf.Graph) -> dict[str, list[tf.Operation]]:
    """By the captured matrices that serve for nothing else: the products ``x @ matrix``."""
    uses: dict[str, list[tuple[tf.Operation, int]]] = {placeholder.name: [] for _, placeholder in graph.captures}
    for operation in graph.get_operations():
        for position, tensor in enumerate(operation.inputs):
            if tensor.name in uses:
                uses[tensor.name].append((operation, position))
    return {
        name: [operation for operation, _ in users]
        for name, users in uses.items()
        if users and all(o.type == "MatMul" and at == 1 and not o.get_attr("transpose_b") for o, at in users)
    }


def with_weights(model: bytes, weights: Mapping[str, np.ndarray]) -> bytes:
    """The converted model of `without_weights` with its weights inside."""
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    (graph,), (signature,) = root.subgraphs, root.signatureDefs
    tensor_of = {entry.name.decode(): entry.tensorIndex for entry in signature.inputs}
    constants = [tensor_of[_INPUT.format(index)] for index in range(len(weights))]
    for tensor, (name, array) in zip(constants, weights.items(), strict=True):
        graph.tensors[tensor].name, graph.tensors[tensor].buffer = name.encode(), len(root.buffers)
        buffer = schema.BufferT()
        buffer.data = array
        root.buffers.append(buffer)
    graph.inputs = [index for index in graph.inputs if index not in constants]
    signature.inputs = [entry for entry in signature.inputs if entry.tensorIndex not in constants]
    graph.operators = _by_need(graph)
    return pack(root)


def _by_need(graph: schema.SubGraphT) -> list[schema.OperatorT]:
    """The operators, each right before the first that reads from it: the order of the trace.

    The converter's own order has all keys and values at the start, where their weights are inputs.
    """
    producer = {tensor: operator for operator in graph.operators for tensor in operator.outputs}
    done: dict[int, schema.OperatorT] = {}
    stack = [producer[tensor] for tensor in reversed(graph.outputs)]
    while stack:
        waiting = [producer[t] for t in stack[-1].inputs if t in producer and id(producer[t]) not in done]
        if waiting:
            stack.append(waiting[0])
        else:
            done.setdefault(id(stack[-1]), stack.pop())
    return list(done.values())
