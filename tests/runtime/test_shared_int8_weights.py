"""An int8 model whose weights serve twice is loaded: ONNX Runtime refuses it with the option for exact sums."""

from __future__ import annotations

import numpy as np
import pytest

from perceiver_edge.runtime import load

onnx = pytest.importorskip("onnx")


def test_layers_that_share_int8_weights_are_loaded():
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    constants = {
        "w": np.arange(-8, 8, dtype=np.int8).reshape(4, 4), "one": np.float32(1), "s": np.float32(1), "z": np.int8(0),
        "zx": np.uint8(128),
    }  # fmt: skip

    def layer(index: int, source: str, target: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("QuantizeLinear", [source, "s", "zx"], [f"q{index}"]),
            helper.make_node("DequantizeLinear", [f"q{index}", "s", "zx"], [f"d{index}"]),
            helper.make_node("DequantizeLinear", ["w", "s", "z"], [f"dw{index}"]),
            helper.make_node("MatMul", [f"d{index}", f"dw{index}"], [f"m{index}"]),
            helper.make_node("QuantizeLinear", [f"m{index}", "s", "zx"], [f"p{index}"]),
            helper.make_node("DequantizeLinear", [f"p{index}", "s", "zx"], [target]),
        ]

    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4]) for name in ("input", "output")]
    graph = helper.make_graph(
        layer(0, "input", "middle") + layer(1, "middle", "output"), "tied", value[:1], value[1:],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = np.float32([[1, 0, -1, 2]])
    weight = constants["w"].astype(np.float32)
    clipped = np.clip(x @ weight, -128, 127)
    np.testing.assert_array_equal(load(model.SerializeToString())(x), np.clip(clipped @ weight, -128, 127))
