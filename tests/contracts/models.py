"""Models of one operator, in the very forms that the converters emit."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import helper, numpy_helper

from perceiver_edge.converters.core_params import Affine

_TYPES = {np.dtype(np.int8): schema.TensorType.INT8, np.dtype(np.float32): schema.TensorType.FLOAT32,
          np.dtype(np.int32): schema.TensorType.INT32}  # fmt: skip


def tflite_operator(
    kind: str,
    inputs: list[tuple[np.ndarray, Affine | list[float] | None]],
    output: tuple[tuple[int, ...], type, Affine | None],
    *,
    version: int = 1,
    options: Any = None,
    constants: tuple[int, ...] = (),
) -> bytes:
    """A TFLite model of one builtin operator.

    Args:
        inputs: each an array (its values count for constants) and how it is quantised; a list of scales is per channel.
        output: shape, dtype and how it is quantised.
        constants: which inputs are constants of the model.
    """
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    graph.tensors = []
    for index, (array, quantised) in enumerate(inputs):
        graph.tensors.append(_tensor(f"input{index}", array.shape, array.dtype, quantised))
        if index in constants:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
            model.buffers.append(buffer)
            graph.tensors[-1].buffer = len(model.buffers) - 1
    shape, dtype, quantised = output
    graph.tensors.append(_tensor("output", shape, np.dtype(dtype), quantised))
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, list(range(len(inputs))), [len(inputs)]
    if options is not None:
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    model.operatorCodes, graph.operators = [code], [operator]
    graph.inputs = [index for index in range(len(inputs)) if index not in constants]
    graph.outputs = [len(inputs)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str, shape: tuple[int, ...], dtype: np.dtype, quantised: Affine | list[float] | None) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), list(shape), _TYPES[np.dtype(dtype)], 0
    if quantised is not None:
        tensor.quantization = schema.QuantizationParametersT()
        if isinstance(quantised, Affine):
            tensor.quantization.scale, tensor.quantization.zeroPoint = [quantised.scale], [quantised.zero_point]
        else:
            tensor.quantization.scale, tensor.quantization.zeroPoint = quantised, [0] * len(quantised)
    return tensor


def onnx_model(
    nodes: list[tuple[str, list[str], str] | tuple[str, list[str], str, dict[str, Any]]],
    *,
    inputs: dict[str, np.ndarray],
    constants: dict[str, np.ndarray],
    output: type,
) -> bytes:
    """An ONNX model of ``(operator, inputs, outputs)``, perhaps with attributes; the last node's output is the model's.

    Args:
        inputs: arrays of the shapes and dtypes that are fed.
    """
    dtype_of = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        [helper.make_node(node[0], node[1], node[2].split(","), **dict(*node[3:])) for node in nodes], "contract",
        [helper.make_tensor_value_info(name, dtype_of(a.dtype), a.shape) for name, a in inputs.items()],
        [helper.make_tensor_value_info(nodes[-1][2], dtype_of(np.dtype(output)), None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 18)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
