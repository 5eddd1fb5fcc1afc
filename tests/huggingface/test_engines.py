"""Small models of Hugging Face's architectures in the engines."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from perceiver_edge.calibration import Range, one_range_for_all_uses
from perceiver_edge.converters.onnx.convert import to_onnx
from perceiver_edge.converters.onnx.quantize import onnx_int8
from perceiver_edge.converters.tflite.convert import to_tflite
from perceiver_edge.converters.tflite.quantize import tflite_int8
from perceiver_edge.converters.trace import trace
from perceiver_edge.lowering import lower
from perceiver_edge.lowering.execute import LoweredPerceiver
from perceiver_edge.runtime import load

INT8_ERROR = 0.1
"""Relative L2 of a small model with random weights."""


@pytest.fixture
def shared_blocks(named_case, plain):
    """(the case, its trace, the limits of its quantisation points): two blocks with the weights of one."""
    case = named_case("fourier")
    module = LoweredPerceiver.in_single_precision(lower(plain(case))[0])
    ranges: dict[str, Range] = {}
    module(tf.constant(case.inputs), tap=lambda name, x: ranges.update({name: Range(float(np.min(x)), np.max(x))}))
    shared = one_range_for_all_uses(
        {name: values for name, values in ranges.items() if not name.endswith(".hull")},
        module.program.repeated_layers(),
    )
    traced = trace(module, inputs={"input": (case.inputs.shape, tf.float32)}, output_name="logits")
    return case, traced, {name: (values.min, values.max) for name, values in shared.items()}


def test_an_int8_model_whose_blocks_share_weights_is_loaded(shared_blocks, error, expected):
    """ONNX Runtime refuses it with the option for exact sums."""
    case, traced, points = shared_blocks
    model = onnx_int8(to_onnx(traced), points).SerializeToString()
    assert 1e-4 < error(load(model)(case.inputs)[0], expected(case.name)) < INT8_ERROR


@pytest.mark.parametrize("name", ["fourier", "masked_lm"])
def test_where_biases_are_zero_residuals_stay_outside_of_products(name, named_case, plain):
    """As before training: tf2onnx takes what is added next for the bias, and no int8 kernel adds that."""
    case = named_case(name)
    for weight in case.weights:
        case.weights[weight] *= not weight.endswith(".bias")
    module = LoweredPerceiver.in_single_precision(lower(plain(case))[0])
    dtypes = {"input": tf.int32 if case.config.vocabulary else tf.float32, "mask": tf.bool}
    inputs = {name: (values.shape, dtypes[name]) for name, values in case.feeds.items()}
    model = to_onnx(trace(module, inputs=inputs, output_name="logits"))
    constants = {tensor.name for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in ("Gemm", "MatMul")]
    assert all(constants.issuperset(node.input[1:]) for node in products if node.op_type == "Gemm")
    computed = [tuple(node.input[:2]) for node in products]
    assert len(set(computed)) == len(computed)  # nothing twice


def test_weights_that_blocks_share_are_packed_once(shared_blocks, error, expected, tmp_path):
    """LiteRT's weight cache has one packing for all uses, and refuses where it is not theirs."""
    case, traced, points = shared_blocks
    model = tmp_path / "shared_int8.tflite"
    model.write_bytes(tflite_int8(to_tflite(traced), points))
    cached = load(model, weight_cache=tmp_path / "cache")
    assert error(cached(case.inputs)[0], expected(case.name)) < INT8_ERROR
    (packed,) = (tmp_path / "cache").glob("*.xnnpack")
    own = sum(weight.nbytes for name, weight in case.weights.items() if "self_attends" in name) // 4
    assert packed.stat().st_size < 2 * own + sum(w.size for n, w in case.weights.items() if "self_attends" not in n)
