"""Modules of perceiver-pytorch, by the names of their weights, as values of a `Program`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perceiver_edge.lowering.program import (
    AttentionResidual,
    Block,
    CrossAttention,
    FeedForward,
    Linear,
    Norm,
    SelfAttention,
)


class Reader:
    """Names → float64 values."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self._weights = weights

    def array(self, name: str) -> np.ndarray:
        return np.asarray(self._weights[name], np.float64)

    def norm(self, prefix: str) -> Norm:
        return Norm(self.array(f"{prefix}.weight"), self.array(f"{prefix}.bias"))

    def linear(self, prefix: str) -> Linear:
        bias = self.array(f"{prefix}.bias") if f"{prefix}.bias" in self._weights else None
        return Linear(np.ascontiguousarray(self.array(f"{prefix}.weight").T), bias)

    def cross_attention(
        self, prefix: str, heads: int, head_channels: int, *, is_residual: bool = True, is_inverted: bool = False
    ) -> CrossAttention:
        query, key, value, output = self._attention(f"{prefix}.fn")
        return CrossAttention(
            norm=self.norm(f"{prefix}.norm"), context_norm=self.norm(f"{prefix}.norm_context"),
            query=query, key=key, value=value, output=output,
            heads=heads, scale=head_channels**-0.5, is_residual=is_residual, is_inverted=is_inverted,
        )  # fmt: skip

    def self_attention(
        self, prefix: str, heads: int, head_channels: int, *, index: int
    ) -> tuple[tuple[str, Block], tuple[str, Block]]:
        """The pair of a self-attend and its feed-forward block, with their names."""
        query, key, value, output = self._attention(f"{prefix}.0.fn")
        attention = SelfAttention(
            norm=self.norm(f"{prefix}.0.norm"), projections=(query, key, value), output=output,
            heads=heads, scale=head_channels**-0.5,
        )  # fmt: skip
        return (f"self_attn.{index}", attention), (f"self_ff.{index}", self.feed_forward(f"{prefix}.1"))

    def feed_forward(self, prefix: str) -> FeedForward:
        return FeedForward(
            self.norm(f"{prefix}.norm"), self.linear(f"{prefix}.fn.net.0"), self.linear(f"{prefix}.fn.net.2")
        )

    def attention_residual(self, index: int) -> tuple[str, Block]:
        """Of the layer ``index``, with its name; the normalisation's gain goes into the first product."""
        prefix = f"attn_residuals.{index}.to_attn_logits"
        down = self.linear(f"{prefix}.1").weight * self.array(f"{prefix}.0.weight")[:, None]
        return "attn_residual", AttentionResidual(Linear(down), self.linear(f"{prefix}.2"))

    def _attention(self, prefix: str) -> tuple[Linear, Linear, Linear, Linear]:
        key, value = np.split(self.linear(f"{prefix}.to_kv").weight, 2, axis=1)
        return self.linear(f"{prefix}.to_q"), Linear(key), Linear(value), self.linear(f"{prefix}.to_out")
