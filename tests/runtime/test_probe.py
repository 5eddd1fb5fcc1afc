import numpy as np
import pytest

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import probe


@pytest.fixture
def hidden(batch):
    rng = np.random.default_rng(0)
    return batch @ rng.normal(size=(6, 8)).astype(np.float32)


def _named(model, part):
    from ai_edge_litert.interpreter import Interpreter

    return [d["name"] for d in Interpreter(model_content=model).get_tensor_details() if part in d["name"].lower()]


def test_onnx_tensors_are_those_of_the_network(float_onnx, batch, hidden, expected):
    seen = probe(float_onnx, ["hidden", "logits"])(batch)
    np.testing.assert_allclose(seen["hidden"], hidden, rtol=1e-5)
    np.testing.assert_allclose(seen["logits"], expected, rtol=1e-5)


def test_tflite_tensors_are_those_of_the_network(float_tflite, batch, hidden):
    (name,) = _named(float_tflite, "softmax") or _named(float_tflite, "probabilities")
    probabilities = np.exp(hidden) / np.exp(hidden).sum(-1, keepdims=True)
    np.testing.assert_allclose(probe(float_tflite, [name])({"input": batch})[name], probabilities, rtol=1e-5)


def test_int8_tensors_come_dequantised(int8_tflite, batch, hidden):
    (name,) = _named(int8_tflite, "softmax") or _named(int8_tflite, "probabilities")
    got = probe(int8_tflite, [name])(batch)[name]
    probabilities = np.exp(hidden) / np.exp(hidden).sum(-1, keepdims=True)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, probabilities, atol=0.05)
    np.testing.assert_array_equal(got * 256, np.round(got * 256))  # int8 softmax: scale 1/256


def test_weights_per_channel_come_dequantised(int8_tflite, batch):
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(model_content=int8_tflite).get_tensor_details()
    (name,) = [d["name"] for d in details if list(d["shape"]) == [8, 6]]
    weight = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32).T
    got = probe(int8_tflite, [name])(batch)[name]
    assert (np.abs(got - weight).max(1) <= np.abs(weight).max(1) / 127 * 0.51).all()


def test_without_a_batch_dimension_the_tensors_keep_theirs(float_onnx, batch, hidden):
    np.testing.assert_allclose(probe(float_onnx, ["hidden"])(batch[0])["hidden"], hidden, rtol=1e-5)


@pytest.mark.parametrize("model", ["float_onnx", "float_tflite"])
def test_an_unknown_tensor_is_an_error(model, request):
    with pytest.raises(BadInputError, match="hiden"):
        probe(request.getfixturevalue(model), ["hiden"])


def test_what_a_quantize_linear_gives_comes_dequantised(float_onnx, batch, hidden):
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_model_from_string(float_onnx)
    model.graph.initializer.append(helper.make_tensor("step", TensorProto.FLOAT, [], [0.25]))
    model.graph.initializer.append(helper.make_tensor("middle", TensorProto.UINT8, [], [100]))
    model.graph.node.append(helper.make_node("QuantizeLinear", ["hidden", "step", "middle"], ["whole"]))
    got = probe(model.SerializeToString(), ["whole", "hidden"])(batch)
    np.testing.assert_array_equal(got["whole"], np.round(got["hidden"] * 4) / 4)
    np.testing.assert_allclose(got["hidden"], hidden, rtol=1e-5)


def test_an_onnx_integer_tensor_is_an_error(float_onnx, batch):
    with pytest.raises(BadInputError, match="float tensor"):
        probe(float_onnx, ["class"])(batch)
