"""A TFLite flatbuffer under change: what it takes to read, add and replace operators and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.converters.tflite.pack import pack


class TfliteEditor:
    """A model of one subgraph. Operators are the schema's objects, tensors are indices."""

    def __init__(self, model: bytes) -> None:
        self.model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
        (self.graph,) = self.model.subgraphs
        for buffer in self.model.buffers:
            if buffer.size:  # ai-edge-quantizer keeps the data beside the flatbuffer
                buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
                buffer.offset = buffer.size = 0

    def to_bytes(self) -> bytes:
        return pack(self.model)

    def kind(self, operator: Any) -> int:
        """A value of ``BuiltinOperator``."""
        return _kind(self.model.operatorCodes[operator.opcodeIndex])

    def version(self, operator: Any) -> int:
        return int(self.model.operatorCodes[operator.opcodeIndex].version)

    def name(self, tensor: int) -> str:
        return str(self.graph.tensors[tensor].name.decode())

    def shape(self, tensor: int) -> tuple[int, ...]:
        shape = self.graph.tensors[tensor].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def data(self, tensor: int) -> np.ndarray | None:
        """The bytes of a constant, uint8; None for what is computed or fed."""
        data: np.ndarray | None = self.model.buffers[self.graph.tensors[tensor].buffer].data
        return data

    def add_tensor(self, name: str, shape: tuple[int, ...], type_: int = schema.TensorType.FLOAT32) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name.encode(), np.array(shape, np.int32), type_
        tensor.buffer = 0  # the empty one, by TFLite's convention
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def set_data(self, tensor: int, values: np.ndarray) -> None:
        """Make a constant of a tensor."""
        buffer = schema.BufferT()
        buffer.data = _as_bytes(values)
        self.model.buffers.append(buffer)
        self.graph.tensors[tensor].buffer = len(self.model.buffers) - 1

    def replace_data(self, tensor: int, values: np.ndarray) -> None:
        """Change a constant for all tensors that share it."""
        self.model.buffers[self.graph.tensors[tensor].buffer].data = _as_bytes(values)

    def operator(self, kind: int, inputs: list[int], outputs: list[int], *, version: int = 1) -> Any:
        """An operator that is in no place yet."""
        operator = schema.OperatorT()
        operator.inputs, operator.outputs = inputs, outputs
        self.set_version(operator, kind, version)
        return operator

    def set_version(self, operator: Any, kind: int, version: int) -> None:
        codes = self.model.operatorCodes
        for index, code in enumerate(codes):
            if _kind(code) == kind and code.version == version:
                operator.opcodeIndex = index
                return
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, min(kind, 127), version
        codes.append(code)
        operator.opcodeIndex = len(codes) - 1


def _as_bytes(values: np.ndarray) -> np.ndarray:
    return np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)


def _kind(code: Any) -> int:
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))
