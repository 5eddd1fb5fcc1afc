"""From float to int8 in a finished TFLite model: operators beside those that they replace."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.converters.core_params import Affine
from perceiver_edge.converters.tflite.edit import TfliteEditor

_Op = schema.BuiltinOperator
_MOVES = {_Op.RESHAPE: 1, _Op.SLICE: 2, _Op.STRIDED_SLICE: 2, _Op.TRANSPOSE: 2}
"""They only move values, so int8 moves as float does, in a quarter of the bytes. By first version with int8."""

_SPLITS = {_Op.SPLIT: 1, _Op.SPLIT_V: 0}
"""The same, with several results; by the place of what is split among the inputs."""


class Int8Editor(TfliteEditor):
    """Adds int8 operators beside the float ones that they replace."""

    def __init__(self, model: bytes) -> None:
        super().__init__(model)
        self.summed: set[int] = set()
        """Values whose sum reads what they were rounded to."""
        self._int8: dict[tuple[int, Affine], int] = {}

    def producer(self, tensor: int) -> Any:
        """The operator that computes a tensor, None for a constant or an input."""
        return next((op for op in self.graph.operators if tensor in op.outputs), None)

    def readers(self, tensor: int) -> list[Any]:
        return [op for op in self.graph.operators if tensor in op.inputs]

    def quantised(self, tensor: int, affine: Affine) -> int:
        """An int8 copy of a float tensor, made once; the quantisation moves up past operators that only move values."""
        key = (tensor, affine)
        if key not in self._int8:
            self._int8[key] = self._quantise(tensor, affine)
        return self._int8[key]

    def _quantise(self, tensor: int, affine: Affine) -> int:
        op = self.producer(tensor)
        if op is None:
            return self._int8_constant(tensor, affine)
        if self.kind(op) == _Op.DEQUANTIZE:
            return int(op.inputs[0])
        if self.kind(op) == _Op.CONCATENATION:
            parts = [self.quantised(part, affine) for part in op.inputs]
            if all(self._affine(part) == affine for part in parts):
                return self._int8_copy(op, parts, affine, version=2)
        if self.kind(op) in _MOVES:
            source = self.quantised(op.inputs[0], affine)
            return self._int8_copy(
                op, [source, *op.inputs[1:]], self._affine(source), version=_MOVES[self.kind(op)]
            )  # fmt: skip
        if self.kind(op) in _SPLITS:
            return self._split(op, affine)[list(op.outputs).index(tensor)]
        copy = self._int8_like(tensor, affine)
        self._insert_after(op, self.operator(_Op.QUANTIZE, [tensor], [copy]))
        return copy

    def _split(self, op: Any, affine: Affine) -> list[int]:
        """The results of a copy of a split, all of them: the others will be asked for."""
        place = _SPLITS[self.kind(op)]
        source = self.quantised(op.inputs[place], affine)
        results = [self._int8_like(output, self._affine(source)) for output in op.outputs]
        inputs = [source if index == place else tensor for index, tensor in enumerate(op.inputs)]
        copy = self.operator(self.kind(op), inputs, results, version=2)
        copy.builtinOptionsType, copy.builtinOptions = op.builtinOptionsType, op.builtinOptions
        self._insert_after(op, copy)
        self._int8 |= {(output, affine): result for output, result in zip(op.outputs, results, strict=True)}
        return results

    def _int8_copy(self, op: Any, inputs: list[int], affine: Affine, *, version: int) -> int:
        """The result of a copy of an operator that has int8 inputs."""
        result = self._int8_like(op.outputs[0], affine)
        copy = self.operator(self.kind(op), inputs, [result], version=version)
        copy.builtinOptionsType, copy.builtinOptions = op.builtinOptionsType, op.builtinOptions
        self._insert_after(op, copy)
        return result

    def _int8_constant(self, tensor: int, affine: Affine) -> int:
        data = self.data(tensor)
        assert data is not None
        steps = np.rint(data.view(np.float32) / np.float32(affine.scale)) + affine.zero_point
        copy = self._int8_like(tensor, affine)
        self.set_data(copy, np.clip(steps, -128, 127).astype(np.int8))
        return copy

    def become_int8(self, tensor: int, affine: Affine) -> None:
        parameters = schema.QuantizationParametersT()
        parameters.scale, parameters.zeroPoint = [affine.scale], [affine.zero_point]
        self.graph.tensors[tensor].type = schema.TensorType.INT8
        self.graph.tensors[tensor].quantization = parameters

    def dequantised(self, tensor: int) -> int:
        """The float values of an int8 tensor."""
        values = self.add_tensor(f"{self.name(tensor)}_float", self.shape(tensor))
        self._insert_after(self.producer(tensor), self.operator(_Op.DEQUANTIZE, [tensor], [values], version=2))
        return values

    def dequantise_output(self, op: Any, affine: Affine) -> None:
        """Let the operator give int8, and a DEQUANTIZE after it what it gave before."""
        result = op.outputs[0]
        op.outputs = [self._int8_like(result, affine)]
        self._insert_after(op, self.operator(_Op.DEQUANTIZE, [op.outputs[0]], [result], version=2))

    def drop_unread(self) -> None:
        """Float operators whose results only the int8 copies replaced, last to first."""
        read = {int(tensor) for tensor in self.graph.outputs}
        kept = []
        for op in reversed(self.graph.operators):
            if read.intersection(map(int, op.outputs)):
                kept.append(op)
                read.update(map(int, op.inputs))
        self.graph.operators = kept[::-1]

    def _affine(self, tensor: int) -> Affine:
        quantization = self.graph.tensors[tensor].quantization
        return Affine(float(quantization.scale[0]), int(quantization.zeroPoint[0]))

    def _int8_like(self, tensor: int, affine: Affine) -> int:
        copy = self.add_tensor(f"{self.name(tensor)}_int8", self.shape(tensor), schema.TensorType.INT8)
        self.become_int8(copy, affine)
        return copy

    def move_quantisation_up(self, op: Any) -> None:
        """Past all operators before a QUANTIZE that only move values; its readers read what they moved."""
        result = op.outputs[0]
        moved = self.quantised(op.inputs[0], self._affine(result))
        for reader in self.readers(result):
            reader.inputs = [moved if tensor == result else tensor for tensor in reader.inputs]

    def producer_past_moves(self, tensor: int) -> Any:
        """The operator that computes a tensor before it is moved, None for a constant or an input."""
        op = self.producer(tensor)
        return op if op is None or self.kind(op) not in _MOVES else self.producer_past_moves(op.inputs[0])

    def reader_past_moves(self, tensor: int) -> Any:
        """The one operator that reads a tensor once it is moved; None if there are several."""
        readers = self.readers(tensor)
        if len(readers) != 1:
            return None
        return self.reader_past_moves(readers[0].outputs[0]) if self.kind(readers[0]) in _MOVES else readers[0]

    def move_after(self, op: Any, moved: Any) -> None:
        """``moved`` needs nothing but constants and what ``op`` gives."""
        del self.graph.operators[self._place(moved)]
        self._insert_after(op, moved)

    def _insert_after(self, op: Any, new: Any) -> None:
        self.graph.operators.insert(self._place(op) + 1, new)

    def _place(self, op: Any) -> int:
        return next(index for index, other in enumerate(self.graph.operators) if other is op)
