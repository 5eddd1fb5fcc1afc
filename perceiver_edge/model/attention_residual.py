"""What layers gave, pooled channel by channel (Chen et al. 2026, arXiv:2603.15031; perceiver-pytorch 0.10)."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import KerasTensor, ops

from perceiver_edge.model.linear import linear

EPSILON = 2.0**-23
"""torch's of an RMS normalisation that was given none: that of float32."""


class AttentionResidual(keras.layers.Layer):
    """Σ w h over layers, w = softmax over them of (RMS(h) W_1 W_2), RMS(h) = gamma h / sqrt(mean of h² + epsilon).

    Args:
        dim: channels of h.
        rank: channels between the two products.
    """

    def __init__(self, *, dim: int, rank: int, name: str, dtype: keras.DTypePolicy) -> None:
        super().__init__(name=name, dtype=dtype)
        self.dim, self.rank = dim, rank
        self.down = linear(dim, rank, use_bias=False, name="down", dtype=dtype)
        self.up = linear(rank, dim, use_bias=False, name="up", dtype=dtype)

    def build(self, input_shape: object = None) -> None:
        self.gamma = self.add_weight(name="gamma", shape=(self.dim,), initializer="ones")
        self.down.build((None, self.dim))
        self.up.build((None, self.rank))

    def call(self, given: Sequence[KerasTensor]) -> KerasTensor:
        """What each layer gave, each ``[batch, latents, dim]``, to the same shape."""
        rows = ops.stack(list(given))
        normed = rows * ops.rsqrt(ops.mean(ops.square(rows), axis=-1, keepdims=True) + EPSILON) * self.gamma
        logits = self.up(self.down(normed))
        weights = ops.exp(logits - ops.max(logits, axis=0, keepdims=True))
        return ops.sum(weights * rows, axis=0) / ops.sum(weights, axis=0)
