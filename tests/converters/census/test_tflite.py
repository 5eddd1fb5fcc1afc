import warnings

import numpy as np
import pytest

from perceiver_edge.converters.census.take import census
from perceiver_edge.errors import BadInputError

RNG = np.random.default_rng(0)
W1 = RNG.normal(size=(32, 64)).astype(np.float32)
W2 = RNG.normal(size=(64, 16)).astype(np.float32)


def _convert(**settings):
    """``softmax(input @ W1) @ W2``, and a product of two activations, which is no GEMM with a weight."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([1, 8, 32], tf.float32, name="input")])
    def serve(input):
        hidden = tf.nn.softmax(input @ W1) @ W2
        return {"logits": tf.matmul(hidden, hidden, transpose_b=True)}

    module = tf.Module()
    module.serve = serve
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
    for name, value in settings.items():
        target = converter.target_spec if name.startswith("supported") else converter
        setattr(target, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the int8 converter uses an interpreter it calls deprecated
        return converter.convert()


def _samples():
    return ({"input": np.random.default_rng(i).normal(size=(1, 8, 32)).astype(np.float32)} for i in range(4))


def test_a_float_model():
    counted = census(_convert())
    assert counted.operators == {"BATCH_MATMUL": 1, "FULLY_CONNECTED": 2, "SOFTMAX": 1}
    assert counted.weight_bytes["float32"] == W1.nbytes + W2.nbytes
    assert [(gemm.weight_shape, gemm.macs) for gemm in counted.gemms] == [((64, 32), 16384), ((16, 64), 8192)]
    assert counted.int8_gemm_share == 0
    assert counted.versions["FULLY_CONNECTED"] >= 1
    ((name, shape, dtype),) = [(t.name, t.shape, t.dtype) for t in counted.inputs]
    assert (name, shape, dtype) == ("input", (1, 8, 32), "float32")
    assert [t.name for t in counted.outputs] == ["logits"]


def test_a_static_int8_model():
    import tensorflow as tf

    counted = census(_convert(optimizations=[tf.lite.Optimize.DEFAULT], representative_dataset=_samples))
    assert (counted.int8_gemm_share, counted.int8_gemm_mac_share) == (1, 1)
    assert [(g.weight_dtype, g.activation_dtype, g.dynamic) for g in counted.gemms] == [("int8", "int8", False)] * 2
    assert counted.operators_by_dtype["SOFTMAX"] == {"int8": 1}
    assert counted.quantize_count >= 1
    assert counted.weight_bytes["int8"] == W1.size + W2.size


def test_a_dynamic_range_model():
    import tensorflow as tf

    counted = census(_convert(optimizations=[tf.lite.Optimize.DEFAULT]))
    quantised = [gemm for gemm in counted.gemms if gemm.is_int8]
    assert quantised
    assert all(gemm.dynamic and gemm.activation_dtype == "float32" for gemm in quantised)
    assert "SOFTMAX" in {kind for island in counted.float_islands for kind in island.operators}


def test_a_float16_model_multiplies_in_float():
    import tensorflow as tf

    counted = census(_convert(optimizations=[tf.lite.Optimize.DEFAULT], supported_types=[tf.float16]))
    assert [gemm.weight_dtype for gemm in counted.gemms] == ["float16"] * 2
    assert counted.int8_gemm_share == 0
    assert counted.weights_dequantized_at_runtime == ()
    assert counted.weight_bytes["float16"] == (W1.nbytes + W2.nbytes) // 2


def test_flex_operators_are_named():
    import tensorflow as tf

    function = tf.function(tf.linalg.det, input_signature=[tf.TensorSpec([3, 3], tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    assert census(converter.convert()).custom_operators == {"FlexMatrixDeterminant": 1}


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_bad_input(kept):
    model = _convert()
    with pytest.raises(BadInputError):
        census(model[: int(len(model) * kept)])
