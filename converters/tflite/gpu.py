"""Float TFLite → the same model in the operators that LiteRT's GPU accelerator runs, and runs rightly.

Three forms of constants are rewritten, each by an identity. What the accelerator of ai-edge-litert 2.3 makes of them
was seen with one operator at a time:

- ``const @ x`` is refused, ``x @ const`` is not: a first query that is constant moves to the right, A B = (Bᵀ Aᵀ)ᵀ.
- A sum, difference, product or quotient with a constant of several rows reads only the first of them, without a word.
  Its first axis is taken for the batch, so with one more axis before it, ``[n, c]`` as ``[1, n, c]``, it is right.
- A TILE of a constant is refused: it is evaluated here, up to a size that a file can bear.

CPU engines run this form too, but no faster, so only the artefact meant for GPUs has it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.converters.tflite.edit import TfliteEditor

_LARGEST_TILE_BYTES = 2**26
"""A larger one stays as it is, and the GPU refuses the model: a batch of 32 of the README model repeats 5 MB of
position features to 167 MB."""

_OPERATOR = schema.BuiltinOperator
_DTYPES = {schema.TensorType.FLOAT32: np.dtype(np.float32), schema.TensorType.INT32: np.dtype(np.int32)}
_ELEMENTWISE = {_OPERATOR.ADD, _OPERATOR.SUB, _OPERATOR.MUL, _OPERATOR.DIV}


def for_gpu(model: bytes) -> bytes:
    """Rewrite the forms above; a model without them comes back the same in all that it computes.

    Args:
        model: float32, one subgraph, static shapes.
    """
    editor = _Graph(model)
    editor.graph.operators = [new for old in editor.graph.operators for new in _rewritten(editor, old)]
    return editor.to_bytes()


def _rewritten(graph: _Graph, operator: Any) -> Iterator[Any]:
    """The operators that take the place of this one, in order."""
    kind = graph.kind(operator)
    if kind == _OPERATOR.BATCH_MATMUL and graph.is_constant(operator.inputs[0]):
        yield from _turned_round(graph, operator)
    elif kind in _ELEMENTWISE and any(_has_rows(graph, index) for index in operator.inputs):
        yield from _under_one_more_axis(graph, operator)
    elif kind == _OPERATOR.TILE and graph.is_constant(operator.inputs[0]) and _fits(graph.shape(operator.outputs[0])):
        tiled = np.tile(graph.value(operator.inputs[0]), graph.value(operator.inputs[1]))
        graph.set_data(operator.outputs[0], tiled)
    else:
        yield operator


def _fits(shape: tuple[int, ...]) -> bool:
    return 4 * math.prod(shape) <= _LARGEST_TILE_BYTES


def _turned_round(graph: _Graph, operator: Any) -> Iterator[Any]:
    """``op(L) op(R)`` with L constant → ``(op(R)ᵀ op(L)ᵀ)ᵀ``."""
    left, right = operator.inputs
    (output,) = operator.outputs
    options = operator.builtinOptions
    options.adjX, options.adjY = not options.adjY, not options.adjX
    *batch, rows, columns = graph.shape(output)
    product = graph.add_tensor(f"{graph.name(output)}/turned", (*batch, columns, rows))
    operator.inputs, operator.outputs = [right, left], [product]
    swapped = graph.constant(np.array([*range(len(batch)), len(batch) + 1, len(batch)], np.int32))
    yield operator
    yield graph.operator(_OPERATOR.TRANSPOSE, [product, swapped], [output])


def _under_one_more_axis(graph: _Graph, operator: Any) -> Iterator[Any]:
    """``x + c`` → ``reshape(reshape(x) + c)`` with a leading axis of 1 (the operands have one rank)."""
    (output,) = operator.outputs
    inputs = []
    for index in operator.inputs:
        shape = (1, *graph.shape(index))
        if graph.is_constant(index):
            inputs.append(graph.constant(graph.value(index).reshape(shape)))
        else:
            inputs.append(graph.add_tensor(f"{graph.name(index)}/one_more_axis", shape))
            yield _reshape(graph, index, inputs[-1])
    sum_ = graph.add_tensor(f"{graph.name(output)}/one_more_axis", (1, *graph.shape(output)))
    operator.inputs, operator.outputs = inputs, [sum_]
    yield operator
    yield _reshape(graph, sum_, output)


def _reshape(graph: _Graph, source: int, target: int) -> Any:
    sizes = graph.constant(np.array(graph.shape(target), np.int32))
    return graph.operator(_OPERATOR.RESHAPE, [source, sizes], [target])


def _has_rows(graph: _Graph, index: int) -> bool:
    """Whether this is a constant whose first axis, of several, the accelerator takes for a batch."""
    shape = graph.shape(index)
    return graph.is_constant(index) and len(shape) > 1 and shape[0] > 1


class _Graph(TfliteEditor):
    """A float model: its constants are float32 or int32."""

    def is_constant(self, tensor: int) -> bool:
        return self.data(tensor) is not None

    def value(self, tensor: int) -> np.ndarray:
        data = self.data(tensor)
        assert data is not None
        return np.frombuffer(data.tobytes(), _DTYPES[self.graph.tensors[tensor].type]).reshape(self.shape(tensor))

    def constant(self, value: np.ndarray) -> int:
        type_ = next(type_ for type_, dtype in _DTYPES.items() if dtype == value.dtype)
        tensor = self.add_tensor(f"constant_{len(self.graph.tensors)}", value.shape, type_)
        self.set_data(tensor, value)
        return tensor
