"""Does the graph of a TFLite model hold together? Engines check little of it, and end the process over what does not.

FlatBuffer verification sees that offsets point into the file. Whether tensors, operators and constants fit each other
it does not see, and the engines' kernels trust it. Read from the bytes, in milliseconds, without an engine.

ONNX models need none of this: ONNX Runtime looks at all of it by itself. Of 1,200 damaged ones, made as
`tests/robustness` makes them, it refused or ran every one, and ended no process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime.flatbuffer import Table

_BITS = {0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128, 12: 64, 15: 32, 16: 16, 17: 4}
"""Of a tensor's numbers, by TFLite's types; texts, resources and variants have none."""

_RECURRENT = {16, 24, 35, 44, 46, 52, 142}
"""RNN, LSTM and their like leave out inputs as they please; others only what comes after the first two."""

_CUSTOM = 32
_MOST_VALUES = 1 << 40
_NONE = -1


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]
    bits: int | None
    buffer: int
    is_variable: bool
    scales: int
    zero_points: int
    axis: int
    is_dense: bool
    """Neither sparse nor quantised in a way that has details of its own."""


def require_structure(content: bytes, where: object) -> None:
    """
    Raises:
        BadInputError: a TFLite model whose tensors, operators and constants do not fit each other.
    """
    try:
        problem = _problem(memoryview(content))
    except ValueError as error:
        problem = str(error)
    if problem:
        raise BadInputError(
            "The TFLite model's graph does not hold together.", expected="an undamaged .tflite model", got=problem,
            where=where,
        )  # fmt: skip


def _problem(content: memoryview) -> str | None:
    model = Table.root(content)
    sizes = [_buffer_bytes(buffer) for buffer in model.tables(4)]
    kinds = [max(code.number(0, "<b"), code.number(3, "<i")) for code in model.tables(1)]
    graphs = model.tables(2)
    if not graphs:
        return "no graph"
    return next(filter(None, (_problem_of(graph, sizes, kinds) for graph in graphs)), None)


def _buffer_bytes(buffer: Table) -> int | None:
    """None where the data lies behind the flatbuffer, as in files of over 2 GB."""
    return None if buffer.number(1, "<Q") > 1 else len(buffer.vector(0, "<u1"))


def _problem_of(graph: Table, sizes: Sequence[int | None], kinds: Sequence[int]) -> str | None:
    tensors = [_tensor(table) for table in graph.tables(0)]
    for index, tensor in enumerate(tensors):
        if problem := _problem_of_tensor(tensor, sizes):
            return f"tensor {index} {problem}"
    inputs, outputs = ([int(i) for i in graph.vector(field, "<i4")] for field in (1, 2))
    if bad := [index for index in (*inputs, *outputs) if not 0 <= index < len(tensors)]:
        return f"an input or output is tensor {bad[0]} of {len(tensors)}"
    known = {*inputs, *(i for i, t in enumerate(tensors) if sizes[t.buffer] != 0 or math.prod(t.shape) == 0)}
    variable = {i for i, t in enumerate(tensors) if t.is_variable}
    for index, operator in enumerate(graph.tables(3)):
        problem, results = _problem_of_operator(operator, len(tensors), kinds, known, variable)
        if problem:
            return f"operator {index} {problem}"
        known.update(results)
    missing = [index for index in outputs if index not in known]
    return f"output tensor {missing[0]} is computed by nothing" if missing else None


def _tensor(table: Table) -> _Tensor:
    quantised = table.table(4)
    return _Tensor(
        shape=tuple(int(size) for size in table.vector(0, "<i4")), bits=_BITS.get(table.number(1, "<b")),
        buffer=table.number(2, "<I"), is_variable=bool(table.number(5, "<b")),
        scales=len(quantised.vector(2, "<f4")) if quantised else 0,
        zero_points=len(quantised.vector(3, "<i8")) if quantised else 0,
        axis=quantised.number(6, "<i") if quantised else 0,
        is_dense=table.table(6) is None and not (quantised and quantised.number(4, "<B")),
    )  # fmt: skip


def _problem_of_tensor(tensor: _Tensor, sizes: Sequence[int | None]) -> str | None:
    if any(size < 0 for size in tensor.shape) or math.prod(tensor.shape) > _MOST_VALUES:
        return f"has the shape {list(tensor.shape)}"
    if tensor.buffer >= len(sizes):
        return f"is in buffer {tensor.buffer} of {len(sizes)}"
    held = sizes[tensor.buffer]
    if held and tensor.bits is not None and tensor.is_dense:
        needed = (math.prod(tensor.shape) * tensor.bits + 7) // 8
        if held < needed:
            return f"of shape {list(tensor.shape)} needs {needed} bytes, and its buffer has {held}"
    if tensor.scales > 1 and tensor.is_dense:
        axis = tensor.axis if 0 <= tensor.axis < len(tensor.shape) else None
        if axis is None or tensor.shape[axis] != tensor.scales or tensor.zero_points not in (0, 1, tensor.scales):
            return f"of shape {list(tensor.shape)} has {tensor.scales} scales and {tensor.zero_points} zero points"
    return None


def _problem_of_operator(
    operator: Table, num_tensors: int, kinds: Sequence[int], known: set[int], variable: set[int]
) -> tuple[str | None, list[int]]:
    """(what is wrong, the tensors that it computes)."""
    code = operator.number(0, "<I")
    if code >= len(kinds):
        return f"has the code {code} of {len(kinds)}", []
    read, results = ([int(i) for i in operator.vector(field, "<i4")] for field in (1, 2))
    may_lack = kinds[code] in _RECURRENT or kinds[code] == _CUSTOM
    for place, index in enumerate(read):
        if index == _NONE and (may_lack or place > 1):
            continue
        if not 0 <= index < num_tensors:
            return f"reads tensor {index} of {num_tensors}", []
        if index not in known | variable:
            return f"reads tensor {index}, which nothing has computed", []
    for index in results:
        if not 0 <= index < num_tensors:
            return f"computes tensor {index} of {num_tensors}", []
        if index in known:
            return f"computes tensor {index}, which is there already", []
    return None, results
