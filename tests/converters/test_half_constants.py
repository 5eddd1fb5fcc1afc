"""Tables of a quantised model in half precision: a smaller file with the same answers; small tables stay."""

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import helper, numpy_helper

from perceiver_edge.converters import half_constants
from perceiver_edge.converters.onnx.half_constants import with_half_constants as in_onnx
from perceiver_edge.converters.tflite.half_constants import with_half_constants as in_tflite
from perceiver_edge.runtime import load

TOKENS, CHANNELS = 1000, 6
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.standard_normal((TOKENS, CHANNELS)).astype(np.float32)
SMALL = RANDOM.standard_normal((1, CHANNELS)).astype(np.float32)
WEIGHT = RANDOM.standard_normal((CHANNELS, TOKENS)).astype(np.float32)
INPUT = RANDOM.standard_normal((TOKENS, CHANNELS)).astype(np.float32)


def tflite():
    def function(x):
        return {"y": tf.matmul((x * TABLE + TABLE) * SMALL, WEIGHT)}

    concrete = tf.function(function, input_signature=[tf.TensorSpec(INPUT.shape, name="x")]).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()


def onnx_model():
    nodes = [
        helper.make_node("Mul", ["x", "table"], ["a"]), helper.make_node("Add", ["a", "table"], ["b"]),
        helper.make_node("Mul", ["b", "small"], ["c"]), helper.make_node("MatMul", ["c", "weight"], ["y"]),
    ]  # fmt: skip
    values = [("x", INPUT.shape), ("y", (TOKENS, TOKENS))]
    (x,), (y,) = ([helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s)] for n, s in values)
    constants = [numpy_helper.from_array(a, n) for n, a in (("table", TABLE), ("small", SMALL), ("weight", WEIGHT))]
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answers(model, path):
    path.write_bytes(model)
    return np.asarray(load(path, threads=1)({"x": INPUT}))


@pytest.fixture(params=["tflite", "onnx"])
def models(request):
    """The float model and the one with half constants, as bytes, and the suffix."""
    if request.param == "tflite":
        model = tflite()
        return model, in_tflite(model), "tflite"
    whole = onnx_model()
    return whole.SerializeToString(), in_onnx(onnx_model()).SerializeToString(), "onnx"


def test_a_table_takes_half_the_bytes_and_rounds_by_float16(models, tmp_path):
    whole, half, suffix = models
    assert len(whole) - len(half) == pytest.approx(TABLE.nbytes / 2, abs=600)
    expected, got = (answers(model, tmp_path / f"{n}.{suffix}") for n, model in enumerate((whole, half)))
    error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    assert 1e-5 < error < 2.0**-11  # the table is rounded, and nothing else


def test_large_values_and_large_tables_stay_as_they_are(monkeypatch):
    assert half_constants.halved(TABLE, file_bytes=10 * TABLE.nbytes) is not None
    assert half_constants.halved(TABLE, file_bytes=100 * TABLE.nbytes) is None
    assert half_constants.halved(np.full(5000, 7e4, np.float32), file_bytes=20_000) is None
    assert half_constants.halved(TABLE[:10], file_bytes=1000) is None
    monkeypatch.setattr(half_constants, "MOST_BYTES", TABLE.nbytes - 1)
    model = tflite()
    assert in_tflite(model) is model
