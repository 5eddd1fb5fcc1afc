"""Modules of transformers' Perceivers, by the names of their weights, as values of a `Program`.

One layer serves as cross-attend, self-attend and decoder (``modeling_perceiver.py`` of transformers 5.24):

    h = LN1(q), c = LN2(kv), or c = h in a self-attend          Q, K, V = h W_q + b_q, c W_k + b_k, c W_v + b_v
    o = softmax(Q Kᵀ / √(channels of a head)) V W_o + b_o       + q, where the query is a residual
    y = o + W_2 act(W_1 LN(o) + b_1) + b_2
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perceiver_edge.lowering.program import Activation, Block, CrossAttention, FeedForward, Norm, SelfAttention
from perceiver_edge.lowering.source import Array, Convolution, Linear

BATCH_NORM_EPSILON = 1e-5


class LayerReader:
    """transformers' names → float64 values of the program.

    Args:
        activation: of every feed-forward block.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], *, activation: Activation = "gelu") -> None:
        self._weights, self._activation = weights, activation

    def array(self, name: str) -> Array:
        return np.asarray(self._weights[name], np.float64)

    def norm(self, prefix: str) -> Norm:
        return Norm(self.array(f"{prefix}.weight"), self.array(f"{prefix}.bias"))

    def linear(self, prefix: str) -> Linear:
        weight = self.array(f"{prefix}.weight")
        weight = weight.reshape(weight.shape[0], -1)  # a 1 × 1 convolution has two axes more
        return Linear(np.ascontiguousarray(weight.T), self.array(f"{prefix}.bias"))

    def convolution(self, prefix: str) -> Convolution:
        """7 × 7 with stride 2 and 3 zeros on every side; 3 × 3 maxima with stride 2 and none: 224 → 112 → 55."""
        gamma, beta, mean, variance = (
            self.array(f"{prefix}.batchnorm.{name}") for name in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        kernel = np.ascontiguousarray(self.array(f"{prefix}.conv.weight").transpose(2, 3, 1, 0))
        return Convolution(kernel, scale, beta - mean * scale, stride=2, padding=3, pool=3, pool_stride=2)

    def layer(
        self, prefix: str, heads: int, *, is_residual: bool = True, index: int | None = None
    ) -> tuple[tuple[str, Block], ...]:
        """A cross-attend, or, with an ``index``, a self-attend; and its feed-forward block."""
        attention = f"{prefix}.attention.self"
        norm = self.norm(f"{attention}.layernorm1")
        query, key, value = (self.linear(f"{attention}.{name}") for name in ("query", "key", "value"))
        output = self.linear(f"{prefix}.attention.output.dense")
        scale = (query.weight.shape[1] // heads) ** -0.5
        feed_forward = FeedForward(
            self.norm(f"{prefix}.layernorm"), self.linear(f"{prefix}.mlp.dense1"), self.linear(f"{prefix}.mlp.dense2"),
            is_gated=False, activation=self._activation,
        )  # fmt: skip
        if index is not None:
            attend = SelfAttention(norm, (query, key, value), output, heads=heads, scale=scale)
            return (f"self_attn.{index}", attend), (f"self_ff.{index}", feed_forward)
        cross = CrossAttention(
            norm, self.norm(f"{attention}.layernorm2"), query, key, value, output,
            heads=heads, scale=scale, is_residual=is_residual,
        )  # fmt: skip
        return ("cross_attn", cross), ("cross_ff", feed_forward)
