"""The core of every cross-attend that was traced in its int8 form, from float to int8 in an ONNX model.

Only ONNX's own operators: QLinearMatMul for the scores, Sigmoid between DequantizeLinear and QuantizeLinear (of which
ONNX Runtime makes a table of 256 entries), MatMulInteger for the weighted sums, whose int32 results lose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from perceiver_edge.converters.core_params import Affine, CoreParams, core_name, require_cores, require_sum
from perceiver_edge.converters.onnx.canonical import canonical

_MOVES = ("Reshape", "Slice", "Transpose")
"""They only move values, so int8 moves as float does, in a quarter of the bytes."""

_T = TypeVar("_T")
_Dtype = type[np.uint8] | type[np.int8]


class _Quantised(NamedTuple):
    """An 8-bit tensor, its scale and its zero point: the order in which operators take them."""

    values: ir.Value
    scale: ir.Value
    zero_point: ir.Value


def with_int8_cores(model: onnx.ModelProto, params: Mapping[str, CoreParams]) -> onnx.ModelProto:
    """Quantise every core; products with weights around them may be int8 already.

    Args:
        params: by cross-attend, ``layers.<i>.<block>``: just those that the model has in their int8 form.

    Raises:
        ConversionError: the model has other cores than ``params``.
    """
    edited = ir.from_proto(model)
    exponentials = [node for node in edited.graph if node.op_type == "Sigmoid"]
    require_cores((core_name(node.name or "") for node in exponentials), params, "ONNX")
    editor = _Editor(edited.graph)
    for node in exponentials:
        editor.quantise_chunk(node, params[core_name(node.name or "")])
    edited.graph.sort()
    result = canonical(ir.to_proto(RemoveUnusedNodesPass()(edited).model))
    onnx.checker.check_model(result, full_check=True)
    return result


class _Editor:
    """Adds 8-bit operators to a graph beside the float ones that they replace."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._constants: dict[tuple[float, str], ir.Value] = {}
        self._summed: set[ir.Value] = set()
        self._copies: dict[tuple[str, Affine, str], _Quantised] = {}

    def quantise_chunk(self, exponential: ir.Node, params: CoreParams) -> None:
        product = _known(_known(exponential.inputs[0]).producer())
        (reader, _), *_ = exponential.outputs[0].uses()
        query = self.quantised(_known(product.inputs[0]), params.query, np.uint8)
        keys = self.quantised(_known(product.inputs[1]), params.keys, np.int8)
        values = self._rounded_values(_known(reader.inputs[1]), params)
        score_params = self._parameters(params.scores, np.uint8)
        weight_params = self._parameters(params.weights, np.uint8)

        name = product.name
        raw_scores = self._node("QLinearMatMul", [*query, *keys, *score_params], f"{name}/int8")
        lowered = self._node("DequantizeLinear", [raw_scores, *score_params], f"{name}/dequantize")
        weights = self._node("Sigmoid", [lowered], f"{exponential.name}/table")
        raw_weights = self._node("QuantizeLinear", [weights, *weight_params], f"{exponential.name}/quantize")

        name = reader.name
        operands = [raw_weights, values.values, weight_params[1], values.zero_point]
        sums = self._node("MatMulInteger", operands, f"{name}/int8")
        float_sums = self._node("Cast", [sums], f"{name}/float", to=int(ir.DataType.FLOAT))
        step = params.weights.scale * float(_known(values.scale.const_value).numpy())
        result = self._node("Mul", [float_sums, self._constant(step, np.float32)], f"{name}/scale")
        result.shape, result.type = reader.outputs[0].shape, reader.outputs[0].type
        ir.convenience.replace_all_uses_with(reader.outputs[0], result)

    def _rounded_values(self, value: ir.Value, params: CoreParams) -> _Quantised:
        """A chunk's values in int8; who sums them up reads what they were rounded to, from the first core on."""
        rounded = self.quantised(value, params.values, np.int8)
        for node, index in list(value.uses()):
            if node.op_type == "ReduceSum":
                node.replace_input_with(index, self._node("DequantizeLinear", [*rounded], f"{node.name}/dequantize"))
                self._summed.add(value)
        require_sum(value in self._summed, value.name or "", "ONNX")
        return rounded

    def quantised(self, value: ir.Value, affine: Affine, dtype: _Dtype) -> _Quantised:
        """An 8-bit copy of a float tensor, made once; quantisation moves up past operators that only move values."""
        key = (value.name or "", affine, dtype.__name__)
        if key not in self._copies:
            self._copies[key] = self._quantise(value, affine, dtype)
        return self._copies[key]

    def _quantise(self, value: ir.Value, affine: Affine, dtype: _Dtype) -> _Quantised:
        node = value.producer()
        if node is not None and node.op_type == "DequantizeLinear":
            return _Quantised(*map(_known, node.inputs))
        if node is None or node.op_type not in _MOVES:
            params = self._parameters(affine, dtype)
            name = f"{value.name}/{dtype.__name__}"
            return _Quantised(self._node("QuantizeLinear", [value, *params], name), *params)
        source = self.quantised(_known(node.inputs[0]), affine, dtype)
        attributes = {attribute.name: attribute.value for attribute in node.attributes.values()}
        inputs = [source.values, *map(_known, node.inputs[1:])]
        return source._replace(values=self._node(node.op_type, inputs, f"{node.name}/{dtype.__name__}", **attributes))

    def _parameters(self, affine: Affine, dtype: _Dtype) -> tuple[ir.Value, ir.Value]:
        """Scale and zero point; uint8 is int8 moved by 128."""
        zero_point = affine.zero_point + (128 if dtype is np.uint8 else 0)
        return self._constant(affine.scale, np.float32), self._constant(zero_point, dtype)

    def _constant(self, value: float, dtype: type[np.generic]) -> ir.Value:
        key = (value, dtype.__name__)
        if key not in self._constants:
            name = f"core_constant.{len(self._constants)}"
            constant = ir.Value(name=name, const_value=ir.tensor(np.array(value, dtype), name=name))
            self._graph.register_initializer(constant)
            self._constants[key] = constant
        return self._constants[key]

    def _node(self, kind: str, inputs: list[ir.Value], name: str, **attributes: Any) -> ir.Value:
        node = ir.node(kind, inputs, attributes, name=name, outputs=[ir.Value(name=name)])
        self._graph.append(node)
        return node.outputs[0]


def _known(value: _T | None) -> _T:
    """What the types leave open, and a traced core always has."""
    assert value is not None
    return value
