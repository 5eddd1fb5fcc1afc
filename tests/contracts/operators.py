"""Every operator form that the converters emit, as a model of one operator, with what it has to answer.

The answers are those of the model that calibration computes with: whole numbers, scaled in exact arithmetic, rounded to
the nearest step, and cut off at the ends. Engines scale in float32 or in fixed point; where the exact result lies that
near to a tie, either neighbour is right (`TIE`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from contracts.models import onnx_model, tflite_operator

from perceiver_edge.converters.core_params import Affine
from perceiver_edge.converters.onnx.unsaturated import LARGEST_PAIR
from perceiver_edge.lowering.integer_core import MOST_TOKENS, UNSATURATED

TIE = 2e-3
"""Of a step. Fixed-point multipliers have 31 bits and float32 has 24: of a result of 255 steps less than 1e-4."""

INT8, UINT8 = (-128, 127), (0, 255)


@dataclass(frozen=True, eq=False)
class Form:
    """``exact``: the answer, of int8 in steps before rounding, and cut off; ``within``: how far one may be off."""

    model: bytes
    feeds: dict[str, np.ndarray]
    exact: np.ndarray
    within: float = 0.5 + TIE

    def check(self, got: np.ndarray) -> None:
        assert got.shape == self.exact.shape
        off = np.abs(got.astype(np.float64) - self.exact)
        assert off.max() <= self.within, (off.max(), np.argwhere(off > self.within)[:5])


def corners(rows: int, depth: int, limits: tuple[int, int], dtype: type) -> np.ndarray:
    """``[rows, depth]``: all least, all greatest, both in turns, the least beside the greatest half, then noise."""
    low, high = limits
    turns = np.arange(depth) % 2 == 0
    half = np.arange(depth) < depth // 2
    made = [np.full(depth, low), np.full(depth, high), np.where(turns, low, high), np.where(half, high, low)]
    noise = np.random.default_rng(depth).integers(low, high + 1, (rows - len(made), depth))
    return np.concatenate([np.stack(made), noise]).astype(dtype)


def _steps(sums: np.ndarray, scale: np.ndarray | float, output: Affine, limits: tuple[int, int]) -> np.ndarray:
    return np.clip(sums * (np.asarray(scale, np.float32) / np.float64(output.scale)) + output.zero_point, *limits)


def _within_range(sums: np.ndarray, scale: np.ndarray | float, zero_point: int) -> Affine:
    """An output of which the largest sums are a tenth too large, as new samples' are."""
    return Affine(float(np.float32(np.abs(sums * scale).max() / 115)), zero_point)


def fully_connected(depth: int) -> Form:
    """TFLite: int8 by constant int8 per channel, int32 bias, int8."""
    x, weight = corners(8, depth, INT8, np.int8), corners(7, depth, (-127, 127), np.int8)
    scales = np.linspace(0.01, 0.02, 7).astype(np.float32)
    bias = np.random.default_rng(1).integers(-1000, 1000, 7).astype(np.int32)
    given = Affine(0.05, -7)
    sums = (x.astype(np.int64) - given.zero_point) @ weight.T.astype(np.int64) + bias
    scale = np.float32(given.scale) * scales
    output = _within_range(sums, scale.astype(np.float64), 11)
    model = tflite_operator(
        "FULLY_CONNECTED", [(x, given), (weight, scales.tolist()), (bias, scale.tolist())],
        (sums.shape, np.int8, output), version=4, options=schema.FullyConnectedOptionsT(), constants=(1, 2),
    )  # fmt: skip
    return Form(model, {"input0": x}, _steps(sums, scale.astype(np.float64), output, INT8))


def fully_connected_dynamic(depth: int) -> Form:
    """TFLite: float32 by constant int8 per channel; rows are rounded to 255 steps at run time."""
    x = corners(8, depth, (-3, 3), np.float32)
    weight, scales = corners(7, depth, (-127, 127), np.int8), np.linspace(0.01, 0.02, 7).astype(np.float32)
    exact = x.astype(np.float64) @ (weight.T * scales.astype(np.float64))
    step = np.ptp(np.concatenate([x, np.zeros((8, 1))], axis=1), axis=1).max() / 254
    most = (np.abs(weight).sum(axis=1) * scales).max()  # of an input that is half a step off everywhere
    model = tflite_operator(
        "FULLY_CONNECTED", [(x, None), (weight, scales.tolist())], (exact.shape, np.float32, None),
        version=12, options=schema.FullyConnectedOptionsT(), constants=(1,),
    )  # fmt: skip
    return Form(model, {"input0": x}, exact, within=float(step * most) + 1e-3)


def batch_matmul(depth: int) -> Form:
    """TFLite: a core's scores and weighted sums: two computed int8 sides, the right one about zero."""
    left, right = corners(6, depth, INT8, np.int8)[None], corners(5, depth, (-127, 127), np.int8).T[None].copy()
    given = Affine(1 / 255, -128)
    sums = (left.astype(np.int64) - given.zero_point) @ right.astype(np.int64)
    assert np.abs(sums).max() < 2**31
    output = _within_range(sums, 0.02 / 255, 3)
    model = tflite_operator(
        "BATCH_MATMUL", [(left, given), (right, Affine(0.02, 0))], (sums.shape, np.int8, output),
        version=2, options=schema.BatchMatMulOptionsT(),
    )  # fmt: skip
    scale = np.float64(np.float32(1 / 255)) * np.float64(np.float32(0.02))
    return Form(model, {"input0": left, "input1": right}, _steps(sums, scale, output, INT8))


def total(depth: int) -> Form:
    """TFLite: the sum of a chunk's weights."""
    weights = corners(6, depth, INT8, np.int8)[None]
    given = Affine(1 / 255, -128)
    sums = (weights.astype(np.int64) - given.zero_point).sum(axis=-1, keepdims=True)
    output = Affine(float(np.float32(sums.max() / 255 / 240)), -128)
    options = schema.ReducerOptionsT()
    options.keepDims = True
    model = tflite_operator(
        "SUM", [(weights, given), (np.array([2], np.int32), None)], (sums.shape, np.int8, output),
        version=2, options=options, constants=(1,),
    )  # fmt: skip
    return Form(model, {"input0": weights}, _steps(sums, np.float64(np.float32(1 / 255)), output, INT8))


def quantize(_: int) -> Form:
    """TFLite: float32 to int8, far over both ends, and near every tie."""
    to = Affine(0.25, -5)  # a power of two: no tie is moved by rounding
    values = (np.arange(-700, 700).astype(np.float32) * np.float32(0.0625) + np.float32(0.01))[None]
    model = tflite_operator("QUANTIZE", [(values, None)], (values.shape, np.int8, to))
    return Form(model, {"input0": values}, np.clip(values.astype(np.float64) / 0.25 - 5, *INT8))


def dequantize(_: int) -> Form:
    values = np.arange(-128, 128).astype(np.int8)[None]
    model = tflite_operator("DEQUANTIZE", [(values, Affine(0.1, 17))], (values.shape, np.float32, None), version=2)
    return Form(model, {"input0": values}, (values.astype(np.float64) - 17) * np.float64(np.float32(0.1)), within=1e-5)


def _unsaturated(depth: int, columns: int) -> np.ndarray:
    """int8 ``[depth, columns]`` whose neighbours of one sign reach just `LARGEST_PAIR`."""
    even = np.arange(depth) % 2 == 0
    pairs = [(64, 64), (-64, -64), (127, 1), (-127, -1), (1, 127), (127, -127)]
    made = [np.where(even, *pair) for pair in pairs]
    noise = np.random.default_rng(depth).integers(-64, 65, (columns - len(made), depth))
    assert max(abs(a + b) for a, b in pairs) <= LARGEST_PAIR
    return np.concatenate([np.stack(made), noise]).T.astype(np.int8)


def qgemm(depth: int) -> Form:
    """ONNX: a product with weights between QuantizeLinear and DequantizeLinear, which becomes one QGemm."""
    x, weight = corners(8, depth, UINT8, np.uint8), _unsaturated(depth, 9)
    scales = np.linspace(0.01, 0.02, 9).astype(np.float32)
    given = Affine(0.05, 121)
    bias = np.random.default_rng(1).integers(-1000, 1000, 9).astype(np.int32)
    scale = np.float32(given.scale) * scales
    sums = (x.astype(np.int64) - given.zero_point) @ weight.astype(np.int64) + bias
    output = _within_range(sums, scale.astype(np.float64), 130)
    model = onnx_model(
        [
            ("DequantizeLinear", ["x", "xs", "xz"], "xf"),
            ("DequantizeLinear", ["w", "ws", "wz"], "wf", {"axis": 1}),
            ("DequantizeLinear", ["b", "bs", "bz"], "bf", {"axis": 0}),
            ("Gemm", ["xf", "wf", "bf"], "f"),
            ("QuantizeLinear", ["f", "ys", "yz"], "y"),
        ],
        inputs={"x": x},
        constants={
            "xs": np.float32(given.scale), "xz": np.uint8(given.zero_point), "w": weight, "ws": scales,
            "wz": np.zeros(9, np.int8), "b": bias, "bs": scale, "bz": np.zeros(9, np.int32),
            "ys": np.float32(output.scale), "yz": np.uint8(output.zero_point),
        },
        output=np.uint8,
    )  # fmt: skip
    return Form(model, {"x": x}, _steps(sums, scale.astype(np.float64), output, UINT8))


def qlinear_matmul(depth: int) -> Form:
    """ONNX: a core's scores, uint8 queries by int8 keys that are both computed."""
    left, right = corners(6, depth, UINT8, np.uint8)[None], corners(5, depth, (-UNSATURATED, UNSATURATED), np.int8)
    right = right.T[None].copy()
    sums = (left.astype(np.int64) - 113) @ right.astype(np.int64)
    output = _within_range(sums, 0.03 * 0.02, 140)
    model = onnx_model(
        [("QLinearMatMul", ["a", "as", "az", "b", "bs", "bz", "ys", "yz"], "y")],
        inputs={"a": left, "b": right},
        constants={
            "as": np.float32(0.03), "az": np.uint8(113), "bs": np.float32(0.02), "bz": np.int8(0),
            "ys": np.float32(output.scale), "yz": np.uint8(output.zero_point),
        },
        output=np.uint8,
    )  # fmt: skip
    scale = np.float64(np.float32(0.03)) * np.float64(np.float32(0.02))
    return Form(model, {"a": left, "b": right}, _steps(sums, scale, output, UINT8))


def matmul_integer(depth: int) -> Form:
    """ONNX: a core's weighted sums, whose int32 lose nothing."""
    left, right = corners(6, depth, UINT8, np.uint8)[None], corners(5, depth, (-UNSATURATED, UNSATURATED), np.int8)
    right = right.T[None].copy()
    model = onnx_model(
        [("MatMulInteger", ["a", "b", "az", "bz"], "y")],
        inputs={"a": left, "b": right}, constants={"az": np.uint8(0), "bz": np.int8(0)}, output=np.int32,
    )  # fmt: skip
    return Form(
        model, {"a": left, "b": right}, (left.astype(np.int64) @ right.astype(np.int64)).astype(float), within=0
    )


def dynamic_matmul(depth: int) -> Form:
    """ONNX: a product of a dynamic model, which rounds its input to 255 steps at run time."""
    x, weight = corners(8, depth, (-3, 5), np.float32), _unsaturated(depth, 9)
    scales = np.linspace(0.01, 0.02, 9).astype(np.float32)
    step = np.float32((x.max() - x.min()) / np.float32(255))
    zero_point = np.rint(-x.min() / step)
    rounded = np.clip(np.rint(x / step) + zero_point, *UINT8) - zero_point
    exact = (rounded @ weight.astype(np.float64)) * (np.float64(step) * scales)
    model = onnx_model(
        [
            ("DynamicQuantizeLinear", ["x"], "q,qs,qz"),
            ("MatMulInteger", ["q", "w", "qz", "wz"], "i"),
            ("Cast", ["i"], "f", {"to": 1}),
            ("Mul", ["qs", "ws"], "s"),
            ("Mul", ["f", "s"], "y"),
        ],
        inputs={"x": x}, constants={"w": weight, "ws": scales, "wz": np.zeros(9, np.int8)}, output=np.float32,
    )  # fmt: skip
    return Form(model, {"x": x}, exact, within=float(1e-5 * np.abs(exact).max()) + 1e-5)


LONGEST = (2**31 - 1) // (255 * 127)
"""Products of eight bits whose sum still fits 32."""

_DEPTHS = (1, 3, 31, 64, 257)

TFLITE: dict[str, Form] = {
    f"{make.__name__} {depth}": make(depth)
    for make, depths in (
        (fully_connected, _DEPTHS), (fully_connected_dynamic, _DEPTHS), (batch_matmul, (*_DEPTHS, LONGEST)),
        (total, (*_DEPTHS, MOST_TOKENS)), (quantize, (0,)), (dequantize, (0,)),
    )
    for depth in depths
}  # fmt: skip
ONNX: dict[str, Form] = {
    f"{make.__name__} {depth}": make(depth)
    for make, depths in (
        (qgemm, _DEPTHS), (qlinear_matmul, _DEPTHS), (matmul_integer, (*_DEPTHS, LONGEST)),
        (dynamic_matmul, _DEPTHS),
    )
    for depth in depths
}  # fmt: skip
