"""Tables that are added or multiplied, in float16 with a DEQUANTIZE: see `converters.half_constants`.

XNNPACK and TFLite's own kernel both convert a constant once, when the model is loaded.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from perceiver_edge.converters.half_constants import F, halved
from perceiver_edge.converters.tflite.edit import TfliteEditor

_Op = schema.BuiltinOperator
_ELEMENTWISE = {_Op.ADD, _Op.MUL, _Op.SUB}
_DEQUANTIZE_HALF = 3
"""The first version of DEQUANTIZE that reads float16."""


def constants_in(model: bytes, dtype: type[F]) -> list[NDArray[F]]:
    """The constants in float16 or float32, each in one dimension."""
    editor = TfliteEditor(model)
    kind = getattr(schema.TensorType, np.dtype(dtype).name.upper())
    indices = (index for index, tensor in enumerate(editor.graph.tensors) if tensor.type == kind)
    return [data.view(dtype) for index in indices if (data := editor.data(index)) is not None]


def with_half_constants(model: bytes) -> bytes:
    """The same quantised model in fewer bytes."""
    editor = TfliteEditor(model)
    readers: dict[int, list[int]] = {}
    for operator in editor.graph.operators:
        for index in operator.inputs:
            readers.setdefault(int(index), []).append(editor.kind(operator))
    stored: dict[int, np.ndarray] = {}
    added = []
    for index, kinds in readers.items():
        if index < 0 or not {*kinds} <= _ELEMENTWISE or editor.graph.tensors[index].type != schema.TensorType.FLOAT32:
            continue
        tensor, data = editor.graph.tensors[index], editor.data(index)
        half = None if data is None else halved(np.frombuffer(data.tobytes(), np.float32), file_bytes=len(model))
        if half is None:
            continue
        source = editor.add_tensor(f"{editor.name(index)}/half", editor.shape(index), schema.TensorType.FLOAT16)
        editor.set_data(source, stored.setdefault(tensor.buffer, half))
        tensor.buffer = 0  # the empty one
        added.append(editor.operator(_Op.DEQUANTIZE, [source], [index], version=_DEQUANTIZE_HALF))
    if not added:
        return model
    editor.graph.operators = [*added, *editor.graph.operators]
    for buffer in stored.keys() - {tensor.buffer for tensor in editor.graph.tensors}:
        editor.model.buffers[buffer].data = None
    return editor.to_bytes()
