"""Small models of Hugging Face's architectures in the engines."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from perceiver_edge.converters.onnx.convert import to_onnx
from perceiver_edge.converters.onnx.quantize import onnx_int8
from perceiver_edge.converters.trace import trace
from perceiver_edge.lowering import lower
from perceiver_edge.lowering.execute import LoweredPerceiver
from perceiver_edge.lowering.program import single_precision
from perceiver_edge.runtime import load


def test_an_int8_model_whose_blocks_share_weights_is_loaded(named_case, plain, error, expected):
    """ONNX Runtime refuses it with the option for exact sums."""
    case = named_case("fourier")
    module = LoweredPerceiver(single_precision(lower(plain(case))[0]))
    ranges: dict[str, tuple[float, float]] = {}
    module(tf.constant(case.inputs), tap=lambda name, x: ranges.update({name: (float(np.min(x)), float(np.max(x)))}))
    traced = trace(module, inputs={"input": (case.inputs.shape, tf.float32)}, output_name="logits")
    points = {name: limits for name, limits in ranges.items() if not name.endswith(".hull")}
    model = onnx_int8(to_onnx(traced), points).SerializeToString()
    assert 1e-4 < error(load(model)(case.inputs)[0], expected(case.name)) < 0.1
