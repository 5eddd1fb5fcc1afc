import numpy as np
import pytest

from perceiver_edge.converters.census.take import census
from perceiver_edge.errors import BadInputError

RNG = np.random.default_rng(0)
W1 = RNG.normal(size=(32, 64)).astype(np.float32)
W2 = RNG.normal(size=(64, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def float_model(tmp_path_factory):
    """LayerNorm, MatMul + bias, Gelu, MatMul, and scores of two activations."""
    from onnx import TensorProto, helper, numpy_helper

    weights = {"w1": W1, "b1": W1[0], "w2": W2, "gamma": W2[0], "beta": W2[1]}
    graph = helper.make_graph(
        [
            helper.make_node("LayerNormalization", ["input", "gamma", "beta"], ["norm"], axis=-1),
            helper.make_node("MatMul", ["norm", "w1"], ["wide"], name="first"),
            helper.make_node("Add", ["wide", "b1"], ["biased"]),
            helper.make_node("Gelu", ["biased"], ["gelu"]),
            helper.make_node("MatMul", ["gelu", "w2"], ["narrow"], name="second"),
            helper.make_node("Transpose", ["narrow"], ["turned"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["narrow", "turned"], ["scores"], name="scores"),
            helper.make_node("Softmax", ["scores"], ["logits"]),
        ],
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 8, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 8, 8])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    path = tmp_path_factory.mktemp("census") / "float.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def _static(float_model, **extra_options):
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Samples(CalibrationDataReader):
        def __init__(self):
            rng = np.random.default_rng(1)
            self._left = iter([{"input": rng.normal(size=(1, 8, 32)).astype(np.float32)} for _ in range(4)])

        def get_next(self):
            return next(self._left, None)

    path = float_model.with_name("int8.onnx")
    quantize_static(
        float_model,
        path,
        Samples(),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        nodes_to_quantize=["first", "second"],
        extra_options=extra_options,
    )
    return path.read_bytes()


def test_a_float_model_shows_what_the_runtime_fused(float_model):
    counted = census(float_model.read_bytes())
    assert counted.operators["com.microsoft.FusedMatMul"] == 1  # the scores, with their Transpose
    assert counted.operators["Gemm"] == 1  # MatMul + bias
    assert "Transpose" not in counted.operators
    assert counted.file_operators["MatMul"] == 3
    assert counted.versions == {"ai.onnx": 20}
    assert counted.format_version == 9
    assert [(g.kind, g.weight_shape, g.macs) for g in counted.gemms] == [
        ("Gemm", (32, 64), 16384),
        ("MatMul", (64, 32), 16384),
    ]
    assert counted.int8_gemm_share == 0
    assert counted.weight_bytes == {"float32": 4 * (W1.size + W2.size + 64 + 32 + 32)}


def test_a_static_int8_model(float_model):
    counted = census(_static(float_model))
    assert [(g.kind, g.weight_dtype, g.activation_dtype) for g in counted.gemms] == [
        ("QLinearMatMul", "int8", "uint8")
    ] * 2
    assert (counted.int8_gemm_share, counted.int8_gemm_mac_share) == (1, 1)
    assert counted.weights_dequantized_at_runtime == ()
    assert {"LayerNormalization": 1} in [island.operators for island in counted.float_islands]
    assert counted.operators["com.microsoft.BiasGelu"] == 1


def test_a_weight_that_the_runtime_dequantises_on_every_run_is_found(float_model):
    """Without quantised outputs ONNX Runtime makes MatMul + bias a Gemm, for which it has no such int8 kernel."""
    counted = census(_static(float_model, OpTypesToExcludeOutputQuantization=["MatMul"]))
    assert len(counted.weights_dequantized_at_runtime) == 1
    assert counted.int8_gemm_share == 0.5
    assert [(g.kind, g.is_int8) for g in counted.gemms] == [
        ("Gemm", False),
        ("com.microsoft.MatMulIntegerToFloat", True),
    ]


def test_a_dynamic_model(float_model):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = float_model.with_name("dynamic.onnx")
    quantize_dynamic(float_model, path, weight_type=QuantType.QInt8)
    counted = census(path.read_bytes())
    assert [(g.kind, g.dynamic, g.is_int8) for g in counted.gemms] == [
        ("com.microsoft.DynamicQuantizeMatMul", True, True)
    ] * 2


def test_a_convolution_in_the_cpus_own_layout_keeps_its_macs():
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((32, 16, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "w"], ["logits"])],
        "convolution",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 16, 10, 10])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 32, 8, 8])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (gemm,) = census(model.SerializeToString()).gemms
    assert gemm.macs == 8 * 8 * 32 * 16 * 9


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_truncated_file_is_bad_input(float_model, kept):
    model = float_model.read_bytes()
    with pytest.raises(BadInputError):
        census(model[: int(len(model) * kept)])
