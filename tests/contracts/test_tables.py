"""The exponentials of an integer core: each engine's table of 256 entries against the model that calibration uses."""

import math

import numpy as np
import pytest

from perceiver_edge.converters.core_params import Affine
from perceiver_edge.lowering.integer_core import SCORE_RANGE, SIGMOID_SHIFT, STEPS

SCORES = np.arange(-128, 128).astype(np.int8).reshape(1, 256)
LOWERED = (SCORES.astype(np.float64) - 127) * SCORE_RANGE / STEPS


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin"])
def test_every_entry_of_the_elu_table(tflite_operator, run_tflite, kernels):
    model = tflite_operator(
        "ELU", [(SCORES, Affine(SCORE_RANGE / STEPS, 127))], ((1, 256), np.int8, Affine(1 / STEPS, 127))
    )
    expected = np.rint(np.exp(LOWERED) * STEPS)
    np.testing.assert_array_equal(run_tflite(model, SCORES, kernels=kernels).astype(int) + 128, expected)


def test_every_entry_of_the_sigmoid_table(onnx_model, run_onnx):
    lowered_by = SCORE_RANGE + SIGMOID_SHIFT
    scores = (SCORES.astype(int) + 128).astype(np.uint8)
    scale = 1 / (1 + math.exp(SIGMOID_SHIFT)) / STEPS
    model = onnx_model(
        [("DequantizeLinear", ["x", "s", "z"], "f"), ("Sigmoid", ["f"], "g"), ("QuantizeLinear", ["g", "t", "o"], "y")],
        inputs={"x": scores},
        constants={"s": np.float32(lowered_by / STEPS), "z": np.uint8(255), "t": np.float32(scale), "o": np.uint8(0)},
        output=np.uint8,
    )
    expected = np.clip(np.rint(1 / (1 + np.exp((255 - scores.astype(float)) * lowered_by / STEPS)) / scale), 0, 255)
    np.testing.assert_array_equal(run_onnx(model, {"x": scores}), expected)


def test_no_entry_lies_where_rounding_is_a_matter_of_taste():
    """The last entry is zero, the one before it is one, and neither is near a half: engines agree on both."""
    entries = np.exp(LOWERED[0]) * STEPS
    assert entries[0] < 0.495
    assert entries[1] > 0.505
    distance = np.abs(entries - np.floor(entries) - 0.5)
    assert distance.min() > 1e-4
