"""The plain Perceiver, or a rate graph, for the converters that start from TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recipe import CHAIN, MODEL, gemm_weights, rate_graph


def plain_function(work: Path) -> Any:
    """As a ``tf.function`` of one input ``[1, *axes, channels]``."""
    import tensorflow as tf

    rate = rate_graph(work)
    if rate is not None:
        function, shape = _rate_function(**rate), (1, rate["rows"], rate["columns"])
    else:
        from perceiver_edge.checkpoints import load_checkpoint
        from perceiver_edge.model import Perceiver

        checkpoint = load_checkpoint(work / MODEL)
        assert checkpoint.input_spec is not None
        function = Perceiver.from_checkpoint(checkpoint)
        shape = (1, *checkpoint.input_spec.shape, checkpoint.config.input_channels)
    return tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32, name="input")], autograph=False)


def _rate_function(kind: str, rows: int, columns: int) -> Any:
    import tensorflow as tf

    def gemm(x: tf.Tensor) -> tf.Tensor:
        x = tf.reshape(x, [rows, columns])
        for weight in gemm_weights(columns):
            x = tf.matmul(x, tf.constant(weight))
        return x[None]

    def exp(x: tf.Tensor) -> tf.Tensor:
        for _ in range(CHAIN):
            x = tf.exp(-x)
        return x

    def softmax(x: tf.Tensor) -> tf.Tensor:
        for _ in range(CHAIN):
            x = tf.nn.softmax(x)
        return x

    return {"gemm": gemm, "exp": exp, "softmax": softmax}[kind]
