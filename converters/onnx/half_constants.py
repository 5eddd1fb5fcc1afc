"""Tables that are added or multiplied, in float16 with a Cast: see `converters.half_constants`.

ONNX Runtime folds the Cast of a constant when it loads the model.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from perceiver_edge.converters.half_constants import F, halved

_READERS = {"Add", "Mul", "Sub", "Unsqueeze", "Reshape", "Transpose"}


def constants_in(model: onnx.ModelProto, dtype: type[F]) -> list[NDArray[F]]:
    """The constants in float16 or float32, each in one dimension."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    found = (tensor for tensor in model.graph.initializer if tensor.data_type == kind)
    return [numpy_helper.to_array(tensor).reshape(-1) for tensor in found]


def with_half_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same quantised model in fewer bytes; ``model`` is changed in place, and returned."""
    graph, file_bytes = model.graph, model.ByteSize()
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or not readers.get(tensor.name, {""}) <= _READERS:
            continue
        name, half = tensor.name, halved(numpy_helper.to_array(tensor), file_bytes=file_bytes)
        if half is not None:
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}/half"))
            casts.append(
                helper.make_node("Cast", [tensor.name], [name], name=f"{name}/cast", to=onnx.TensorProto.FLOAT)
            )
    kept = [*casts, *(onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node)]
    del graph.node[:]
    graph.node.extend(kept)
    return model
