"""The core of every cross-attend that was traced in its int8 form, from float to int8 in a finished TFLite model.

ai-edge-quantizer knows no int8 ELU, and would leave a float island between the products; so the flatbuffer is edited
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.converters.core_params import Affine, CoreParams, core_name, require_cores, require_sum
from perceiver_edge.converters.tflite.edit import TfliteEditor

_Op = schema.BuiltinOperator
_MOVES = {_Op.RESHAPE: 1, _Op.SLICE: 2, _Op.STRIDED_SLICE: 2, _Op.TRANSPOSE: 2}
"""They only move values, so int8 moves as float does, in a quarter of the bytes. By first version with int8."""


def with_int8_cores(model: bytes, params: Mapping[str, CoreParams]) -> bytes:
    """Quantise every core; products with weights around them may be int8 already.

    Args:
        params: by cross-attend, ``layers.<i>.<block>``: just those that the model has in their int8 form.

    Raises:
        ConversionError: the model has other cores than ``params``.
    """
    editor = _Editor(model)
    exponentials = [op for op in editor.graph.operators if editor.kind(op) == _Op.ELU]
    require_cores((core_name(editor.name(op.outputs[0])) for op in exponentials), params, "TFLite")
    for op in exponentials:
        _quantise_chunk(editor, op, params[core_name(editor.name(op.outputs[0]))])
    editor.drop_unread()
    return editor.to_bytes()


def _quantise_chunk(editor: _Editor, exponential: Any, params: CoreParams) -> None:
    scores, weights = exponential.inputs[0], exponential.outputs[0]
    product = editor.producer(scores)
    product.inputs = [
        editor.quantised(product.inputs[0], params.query), editor.quantised(product.inputs[1], params.keys)
    ]  # fmt: skip
    editor.set_version(product, _Op.BATCH_MATMUL, 2)  # the first with int8
    editor.become_int8(scores, params.scores)
    editor.become_int8(weights, params.weights)
    for reader in editor.readers(weights):
        if editor.kind(reader) == _Op.SUM:
            # TensorFlow's converter puts all sums last; until then every chunk's weights would be kept.
            editor.move_after(exponential, reader)
            editor.dequantise_output(reader, params.total)
            editor.set_version(reader, _Op.SUM, 2)
        else:
            reader.inputs = [weights, _rounded_values(editor, reader.inputs[1], params)]
            editor.dequantise_output(reader, params.weighted)
            editor.set_version(reader, _Op.BATCH_MATMUL, 2)


def _rounded_values(editor: _Editor, values: int, params: CoreParams) -> int:
    """A chunk's values in int8; who sums them up reads what they were rounded to, from the first core on."""
    rounded = editor.quantised(values, params.values)
    for reader in editor.readers(values):
        if editor.kind(reader) == _Op.SUM:
            reader.inputs = [editor.dequantised(rounded), *reader.inputs[1:]]
            editor.move_after(editor.producer(reader.inputs[0]), reader)
            editor.summed.add(values)
    require_sum(values in editor.summed, editor.name(values), "TFLite")
    return rounded


class _Editor(TfliteEditor):
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
        copy = self._int8_like(tensor, affine)
        self._insert_after(op, self.operator(_Op.QUANTIZE, [tensor], [copy]))
        return copy

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

    def move_after(self, op: Any, moved: Any) -> None:
        """``moved`` needs nothing but constants and what ``op`` gives."""
        del self.graph.operators[self._place(moved)]
        self._insert_after(op, moved)

    def _insert_after(self, op: Any, new: Any) -> None:
        self.graph.operators.insert(self._place(op) + 1, new)

    def _place(self, op: Any) -> int:
        return next(index for index, other in enumerate(self.graph.operators) if other is op)
