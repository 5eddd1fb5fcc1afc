"""Fusions on the float ONNX graph, as onnxscript rewrite rules: a pattern, and the operators that replace it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common as common_passes
from onnxscript import rewriter
from onnxscript.rewriter import pattern

GELU_OPSET = 20
"""The first opset with a Gelu operator."""


def fuse(model: onnx.ModelProto, *, opset: int) -> onnx.ModelProto:
    """Replace decomposed layer normalisations and GELUs."""
    gelu = _gelu_operator if opset >= GELU_OPSET else _gelu_that_fuses
    rules = [
        pattern.RewriteRule(_normalisation, _layer_normalization, _is_over_channels),
        pattern.RewriteRule(_gelu_by_erf, gelu, _is_gelu),
    ]
    rewritten = rewriter.rewrite(ir.from_proto(model), pattern_rewrite_rules=rules)
    tidy = ir.passes.Sequential(
        common_passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common_passes.DeduplicateInitializersPass(),
    )
    return ir.to_proto(tidy(rewritten).model)


def _normalisation(op: Any, x: Any, axes: Any, epsilon: Any) -> Any:
    centred = op.Sub(x, op.ReduceMean(x, axes, keepdims=1))
    variance = op.ReduceMean(op.Mul(centred, centred), axes, keepdims=1)
    return op.Mul(centred, op.Reciprocal(op.Sqrt(op.Add(variance, epsilon))))


def _is_over_channels(context: Any, x: ir.Value, axes: ir.Value, **_: Any) -> bool:
    """Whether the means are over the last axis alone, and its size is known."""
    constant = ir.convenience.get_const_tensor(axes)
    if constant is None or x.shape is None or not isinstance(x.shape[-1], int):
        return False
    return constant.numpy().tolist() in ([-1], [len(x.shape) - 1])


def _layer_normalization(op: Any, x: ir.Value, axes: ir.Value, epsilon: ir.Value, **_: Any) -> Any:
    assert x.shape is not None
    channels = x.shape[-1]
    assert isinstance(channels, int)  # by _is_over_channels
    scale = op.Constant(value=ir.tensor(np.ones(channels, np.float32)))
    return op.LayerNormalization(x, scale, axis=-1, epsilon=_number(epsilon))


def _gelu_by_erf(op: Any, x: Any, half: Any, one: Any, root_half: Any) -> Any:
    return op.Mul(op.Mul(half, x), op.Add(one, op.Erf(op.Mul(x, root_half))))


def _is_gelu(context: Any, half: ir.Value, one: ir.Value, root_half: ir.Value, **_: Any) -> bool:
    constants = [ir.convenience.get_const_tensor(value) for value in (half, one, root_half)]
    if any(constant is None for constant in constants):
        return False
    return bool(np.allclose([_number(value) for value in (half, one, root_half)], [0.5, 1.0, 0.5**0.5], rtol=1e-6))


def _gelu_operator(op: Any, x: ir.Value, **_: Any) -> Any:
    return op.Gelu(x)


def _gelu_that_fuses(op: Any, x: ir.Value, half: ir.Value, one: ir.Value, **_: Any) -> Any:
    """The same function, divided by sqrt(2) and halved last: ONNX Runtime recognises this order only."""
    root_two = op.Constant(value=ir.tensor(np.array(2**0.5, np.float32)))
    return op.Mul(op.Mul(x, op.Add(op.Erf(op.Div(x, root_two)), one)), half)


def _number(value: ir.Value) -> float:
    constant = ir.convenience.get_const_tensor(value)
    assert constant is not None
    return float(constant.numpy().reshape(-1)[0])
