"""Find the GEMMs with constant weights in an ONNX graph, ONNX Runtime's own operators included."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from perceiver_edge.converters.census.graph import Gemm, Tensor, product


@dataclass(frozen=True)
class _GemmRule:
    """Where a kind of operator has its weight, which attribute transposes it, and whether it quantises by itself."""

    weight: int
    transposed_by: str = ""
    dynamic: bool = False
    convolution: bool = False
    packed_qkv: bool = False


_GEMM_RULES = {
    "MatMul": _GemmRule(1),
    "Gemm": _GemmRule(1, "transB"),
    "com.microsoft.FusedMatMul": _GemmRule(1, "transB"),
    "com.microsoft.FusedGemm": _GemmRule(1, "transB"),
    "com.microsoft.GemmFastGelu": _GemmRule(1),
    "QLinearMatMul": _GemmRule(3),
    "com.microsoft.QGemm": _GemmRule(3, "transB"),
    "MatMulInteger": _GemmRule(1),
    "com.microsoft.MatMulIntegerToFloat": _GemmRule(1),
    "com.microsoft.DynamicQuantizeMatMul": _GemmRule(1, dynamic=True),
    "com.microsoft.Attention": _GemmRule(1, packed_qkv=True),
    "com.microsoft.QAttention": _GemmRule(1, packed_qkv=True),
    "Conv": _GemmRule(1, convolution=True),
    "com.microsoft.FusedConv": _GemmRule(1, convolution=True),
    "com.microsoft.nchwc.Conv": _GemmRule(1, convolution=True),
    "ConvInteger": _GemmRule(1, convolution=True),
    "QLinearConv": _GemmRule(3, convolution=True),
}
_BLOCKWISE = "com.microsoft.MatMulNBits"
DEQUANTIZERS = frozenset({"DequantizeLinear", "com.microsoft.DequantizeLinear"})
# What may stand between a weight and its GEMM without making it anything but that weight.
_TRANSPARENT = DEQUANTIZERS | {"Transpose", "Reshape", "Cast", "Identity"}


def kind_of(node: Any) -> str:
    """The operator's name, with its domain where that is not ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def key_of(node: Any) -> str:
    """The first output: unique in a graph, as node names need not be."""
    return next(name for name in node.output if name)


def find_gemms(graph: Any, tensors: dict[str, Tensor], onnx: Any) -> Iterable[tuple[str, Gemm]]:
    """The GEMMs of an `onnx.GraphProto` with a constant weight, each after the first output of its node."""
    producer = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        if kind_of(node) == _BLOCKWISE:
            yield key_of(node), _blockwise_gemm(node, attributes, tensors)
        elif rule := _GEMM_RULES.get(kind_of(node)):
            stored = _stored_weight(node.input[rule.weight], producer, tensors)
            if stored is not None:
                dynamic = rule.dynamic or _quantized_on_the_fly(node.input[0], producer)
                yield (
                    key_of(node),
                    _gemm(
                        node, rule, attributes=attributes, tensors=tensors, stored_dtype=stored.dtype, dynamic=dynamic
                    ),
                )


def _blockwise_gemm(node: Any, attributes: dict[str, Any], tensors: dict[str, Tensor]) -> Gemm:
    outputs = product(tensors[key_of(node)].shape)
    return Gemm(
        name=key_of(node),
        kind=kind_of(node),
        weight_dtype=f"uint{attributes.get('bits', 4)}",
        activation_dtype=tensors[node.input[0]].dtype,
        weight_shape=(attributes["K"], attributes["N"]),
        macs=None if outputs is None else outputs * attributes["K"],
    )


def _gemm(
    node: Any,
    rule: _GemmRule,
    *,
    attributes: dict[str, Any],
    tensors: dict[str, Tensor],
    stored_dtype: str,
    dynamic: bool,
) -> Gemm:
    activation, weight = tensors[node.input[0]], tensors[node.input[rule.weight]].shape or ()
    return Gemm(
        name=key_of(node),
        kind=kind_of(node),
        weight_dtype=stored_dtype,
        activation_dtype=activation.dtype,
        weight_shape=weight,
        macs=_macs(rule, attributes, outputs=tensors[key_of(node)].shape, weight=weight, activation=activation.shape),
        dynamic=dynamic,
    )


def _stored_weight(name: str, producer: dict[str, Any], tensors: dict[str, Tensor]) -> Tensor | None:
    while not tensors[name].constant:
        node = producer.get(name)
        if node is None or kind_of(node) not in _TRANSPARENT:
            return None
        name = node.input[0]
    return tensors[name]


def _quantized_on_the_fly(name: str, producer: dict[str, Any]) -> bool:
    while (node := producer.get(name)) is not None and kind_of(node) in _TRANSPARENT:
        name = node.input[0]
    return node is not None and kind_of(node) == "DynamicQuantizeLinear"


def _macs(
    rule: _GemmRule,
    attributes: dict[str, Any],
    *,
    outputs: tuple[int, ...] | None,
    weight: tuple[int, ...],
    activation: tuple[int, ...] | None,
) -> int | None:
    if rule.packed_qkv:  # [channels, q + k + v]; the output has only v's width
        counted, depth = product(activation), weight[-1]
    elif rule.convolution:  # [output, input / groups, *kernel]
        counted, depth = product(outputs), math.prod(weight[1:])
    else:
        transposed = attributes.get(rule.transposed_by) or len(weight) == 1
        counted, depth = product(outputs), weight[-1] if transposed else weight[-2]
    return None if counted is None else counted * depth
