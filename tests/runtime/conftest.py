"""One small network, ``logits = mean(softmax(input @ W1) @ W2)``, in each format; made once per session."""

import threading
import warnings
from collections.abc import Callable

import numpy as np
import pytest

SHAPE = (1, 4, 6)


def _weights() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 8)).astype(np.float32), rng.normal(size=(8, 3)).astype(np.float32)


def network(batch: np.ndarray) -> dict[str, np.ndarray]:
    """The network in numpy, its hidden tensors included."""
    w1, w2 = _weights()
    hidden = batch @ w1
    probabilities = np.exp(hidden) / np.exp(hidden).sum(-1, keepdims=True)
    return {"hidden": hidden, "probabilities": probabilities, "logits": (probabilities @ w2).mean(1)}


@pytest.fixture(scope="session")
def batch() -> np.ndarray:
    return np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)


@pytest.fixture(scope="session")
def expected(batch: np.ndarray) -> np.ndarray:
    return network(batch)["logits"]


def _tflite(*, int8: bool) -> bytes:
    import tensorflow as tf

    w1, w2 = _weights()

    @tf.function(input_signature=[tf.TensorSpec(SHAPE, tf.float32, name="input")])
    def serve(input):
        probabilities = tf.nn.softmax(tf.matmul(input, w1, name="hidden"), name="probabilities")
        return {"logits": tf.reduce_mean(probabilities @ w2, 1)}

    module = tf.Module()
    module.serve = serve
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        rng = np.random.default_rng(2)
        converter.representative_dataset = lambda: (
            {"input": rng.normal(size=SHAPE).astype(np.float32)} for _ in range(16)
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the int8 converter uses an interpreter it calls deprecated
        return converter.convert()


@pytest.fixture(scope="session")
def float_tflite() -> bytes:
    return _tflite(int8=False)


@pytest.fixture(scope="session")
def int8_tflite() -> bytes:
    return _tflite(int8=True)


@pytest.fixture(scope="session")
def float_onnx() -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    w1, w2 = _weights()
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["input", "w1"], ["hidden"]),
            helper.make_node("Softmax", ["hidden"], ["probabilities"], axis=-1),
            helper.make_node("MatMul", ["probabilities", "w2"], ["values"]),
            helper.make_node("ReduceMean", ["values", "axes"], ["logits"], keepdims=0),
            helper.make_node("ArgMax", ["logits"], ["class"], axis=-1, keepdims=0),
        ],
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [
            numpy_helper.from_array(w1, "w1"),
            numpy_helper.from_array(w2, "w2"),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


@pytest.fixture(scope="session")
def masked_tflite() -> bytes:
    """As `masked_onnx`, with weights: ``logits = (input where mask) @ W1``, ``count = sum(mask)``."""
    import tensorflow as tf

    w1, _ = _weights()
    signature = [tf.TensorSpec((1, 6), dtype, name=name) for name, dtype in (("input", "float32"), ("mask", "bool"))]

    @tf.function(input_signature=signature)
    def serve(input, mask):
        weight = tf.cast(mask, tf.float32)
        return {"logits": tf.matmul(input * weight, w1), "count": tf.reduce_sum(weight, 1)}

    module = tf.Module()
    module.serve = serve
    return tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module).convert()


@pytest.fixture(scope="session")
def embedding_tflite() -> bytes:
    """Rows of a table of 3: ``[1, 4]`` int32 → ``[1, 4, 8]``, through a product with weights."""
    import tensorflow as tf

    w1, _ = _weights()
    table = tf.constant(np.random.default_rng(1).standard_normal((3, len(w1))), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 4), "int32", name="input")])
    def serve(input):
        return {"rows": tf.matmul(tf.reshape(tf.gather(table, input), [4, len(w1)]), w1)}

    module = tf.Module()
    module.serve = serve
    return tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module).convert()


@pytest.fixture(scope="session")
def negated_tflite(float_tflite: bytes) -> bytes:
    """`float_tflite` with the weights of the last product negated, and so its answers; else the same file."""
    _, w2 = _weights()
    negated = float_tflite.replace(w2.T.tobytes(), (-w2.T).tobytes())
    assert negated != float_tflite
    return negated


@pytest.fixture(scope="session")
def masked_onnx() -> bytes:
    """Two inputs, two outputs: ``logits = sum(input where mask)``, ``count = sum(mask)``."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["mask"], ["weight"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["input", "weight"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "axes"], ["logits"], keepdims=0),
            helper.make_node("ReduceSum", ["weight", "axes"], ["count"], keepdims=0),
        ],
        "masked",
        [
            helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 4]),
            helper.make_tensor_value_info("mask", TensorProto.BOOL, [1, 4]),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("count", TensorProto.FLOAT, [1]),
        ],
        [numpy_helper.from_array(np.array([1], np.int64), "axes")],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


@pytest.fixture(scope="session")
def in_threads() -> Callable[[Callable[[int], None], int], None]:
    """Call ``work`` with 0, 1, … at once, each in a thread of its own, and wait for all."""

    def run(work: Callable[[int], None], count: int) -> None:
        workers = [threading.Thread(target=work, args=(i,)) for i in range(count)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return run
