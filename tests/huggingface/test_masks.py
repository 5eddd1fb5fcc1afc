"""A text of which nothing may be read, and one of a single symbol, in every precision and both formats."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from perceiver_edge.converters.onnx.convert import to_onnx
from perceiver_edge.converters.onnx.quantize import onnx_fp16
from perceiver_edge.converters.tflite.convert import to_tflite
from perceiver_edge.converters.tflite.quantize import tflite_fp16
from perceiver_edge.converters.trace import trace
from perceiver_edge.lowering import lower
from perceiver_edge.lowering.execute import LoweredPerceiver
from perceiver_edge.runtime import load

PRECISION = {"float32": 1e-4, "fp16": 2e-2}
"""Relative L2. Half precision was 0.007 off at most."""

SHARPER = 5
"""Times the weights of queries, so that what is masked matters."""


def made(case, module):
    inputs = {"input": (case.inputs.shape, tf.int32), "mask": (case.inputs.shape, tf.bool)}
    traced = trace(module, inputs=inputs, output_name="logits")
    onnx, tflite = to_onnx(traced), to_tflite(traced)
    return {
        ("onnx", "float32"): onnx.SerializeToString(), ("onnx", "fp16"): onnx_fp16(onnx).SerializeToString(),
        ("tflite", "float32"): tflite, ("tflite", "fp16"): tflite_fp16(tflite),
    }  # fmt: skip


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.mark.parametrize("kind", [(format_, precision) for format_ in ("onnx", "tflite") for precision in PRECISION])
def test_masks_hold_where_nothing_may_be_read(kind, named_case, plain, kept, error):
    if not kept:
        case = named_case("masked_lm")
        for name in case.weights:
            case.weights[name] = case.weights[name] * (SHARPER if "query.weight" in name else 1)
        program, _ = lower(plain(case))
        kept.update(case=case, program=program, models=made(case, LoweredPerceiver.in_single_precision(program)))
    case, model = kept["case"], load(kept["models"][kind])
    exact = LoweredPerceiver(kept["program"], dtype=tf.float64)
    answers = {}
    for count in (0, 1, case.inputs.shape[1]):
        mask = np.arange(case.inputs.shape[1])[np.newaxis] < count
        answers[count] = exact({"input": tf.constant(case.inputs, tf.int32)}, tf.constant(mask)).numpy()
        got = model({"input": case.inputs.astype(np.int32), "mask": mask})
        assert error(got, answers[count]) < PRECISION[kind[1]]
    assert min(error(answers[n], answers[case.inputs.shape[1]]) for n in (0, 1)) > 5 * PRECISION[kind[1]]
