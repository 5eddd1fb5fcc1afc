"""The gated feed-forward block (GEGLU, Shazeer 2020)."""

from __future__ import annotations

import math

import keras
from keras import KerasTensor, ops

from perceiver_edge.config import FEED_FORWARD_MULTIPLIER
from perceiver_edge.model.layer_norm import LayerNorm
from perceiver_edge.model.linear import linear


def gelu(x: KerasTensor) -> KerasTensor:
    """The exact GELU, x * Phi(x) (Hendrycks & Gimpel 2016)."""
    # Not keras.activations.gelu: that becomes Erfc, which ONNX does not have.
    return 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5)))


class FeedForward(keras.layers.Layer):
    """(a * gelu(g)) W_2 + b_2 with [a, g] = LN(x) W_1 + b_1, both halves `FEED_FORWARD_MULTIPLIER` times as wide as x.

    Args:
        dim: channels of the input and of the output.
        dropout: rate at which outputs are dropped in training.
    """

    def __init__(self, *, dim: int, dropout: float, name: str, dtype: keras.DTypePolicy) -> None:
        super().__init__(name=name, dtype=dtype)
        self.dim = dim
        self.hidden = FEED_FORWARD_MULTIPLIER * dim
        self.norm = LayerNorm(name="norm", dtype=dtype)
        self.expand = linear(dim, 2 * self.hidden, name="expand", dtype=dtype)
        self.project = linear(self.hidden, dim, name="project", dtype=dtype)
        self.dropout = keras.layers.Dropout(dropout, name="dropout", dtype=dtype)

    def build(self, input_shape: object = None) -> None:
        self.norm.build((None, self.dim))
        self.expand.build((None, self.dim))
        self.project.build((None, self.hidden))

    def call(self, x: KerasTensor, training: bool | None = None) -> KerasTensor:
        """``[batch, latents, dim]`` to the same shape, to be added to x."""
        values, gates = ops.split(self.expand(self.norm(x)), 2, axis=-1)
        return self.dropout(self.project(values * gelu(gates)), training=training)
