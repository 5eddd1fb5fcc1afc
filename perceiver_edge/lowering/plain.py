"""The plain form: a Perceiver's weights as a `Program`, before any rewrite."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perceiver_edge.config import ModelConfig, PerceiverConfig
from perceiver_edge.config.huggingface import HuggingFaceConfig
from perceiver_edge.fourier import fourier_encoding
from perceiver_edge.lowering.plain_huggingface import plain_huggingface
from perceiver_edge.lowering.program import (
    Block,
    CrossAttention,
    FeedForward,
    Layer,
    Linear,
    Norm,
    Output,
    Program,
    SelfAttention,
    Stack,
)
from perceiver_edge.lowering.source import Source


def plain_program(config: ModelConfig, weights: Mapping[str, np.ndarray], input_shape: tuple[int, ...]) -> Program:
    """Read the weights of a `Checkpoint` into a `Program`.

    Args:
        weights: arrays by canonical name; Linear weights are ``[out, in]``.
        input_shape: sizes of the input axes, without channels.
    """
    if isinstance(config, HuggingFaceConfig):
        return plain_huggingface(config, weights, input_shape)
    return _plain_perceiver(config, weights, input_shape)


def _plain_perceiver(
    config: PerceiverConfig, weights: Mapping[str, np.ndarray], input_shape: tuple[int, ...]
) -> Program:
    """Weights under the names of `perceiver_edge.checkpoints.layout`."""
    read = _Reader(weights)
    distinct = min(config.depth, 2) if config.weight_tie_layers else config.depth  # tied: the first stands alone
    layers = [_layer(config, read, index) for index in range(distinct)]
    layers += layers[-1:] * (config.depth - distinct)
    encoding = None
    if config.fourier_encode_data:
        encoding = fourier_encoding(
            input_shape, num_bands=config.num_freq_bands, max_freq=config.max_freq, freq_base=config.freq_base
        ).reshape(int(np.prod(input_shape)), -1)
    latents = read.array("latents")
    output = Output(is_mean=False, norm=None, projection=None, shape=latents.shape)
    if config.final_classifier_head:
        output = Output(
            is_mean=True, norm=read.norm("to_logits.1"), projection=read.linear("to_logits.2"),
            shape=(config.num_classes,),
        )  # fmt: skip
    return Program(
        sources=(Source("input", (*input_shape, config.input_channels), (), encoding),),
        stacks=(Stack("layers", latents, None, tuple(layers)),),
        output=output,
    )


class _Reader:
    """Canonical names → float64 values of the program."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self._weights = weights

    def array(self, name: str) -> np.ndarray:
        return np.asarray(self._weights[name], np.float64)

    def norm(self, prefix: str) -> Norm:
        return Norm(self.array(f"{prefix}.weight"), self.array(f"{prefix}.bias"))

    def linear(self, prefix: str) -> Linear:
        bias = self.array(f"{prefix}.bias") if f"{prefix}.bias" in self._weights else None
        return Linear(np.ascontiguousarray(self.array(f"{prefix}.weight").T), bias)

    def attention(self, prefix: str) -> tuple[Linear, Linear, Linear, Linear]:
        key, value = np.split(self.linear(f"{prefix}.to_kv").weight, 2, axis=1)
        return self.linear(f"{prefix}.to_q"), Linear(key), Linear(value), self.linear(f"{prefix}.to_out")

    def feed_forward(self, prefix: str) -> FeedForward:
        return FeedForward(
            self.norm(f"{prefix}.norm"), self.linear(f"{prefix}.fn.net.0"), self.linear(f"{prefix}.fn.net.2")
        )


def _layer(config: PerceiverConfig, read: _Reader, index: int) -> Layer:
    prefix = f"layers.{index}"
    query, key, value, output = read.attention(f"{prefix}.cross_attn.fn")
    cross = CrossAttention(
        norm=read.norm(f"{prefix}.cross_attn.norm"),
        context_norm=read.norm(f"{prefix}.cross_attn.norm_context"),
        query=query, key=key, value=value, output=output,
        heads=config.cross_heads, scale=config.cross_dim_head**-0.5,
    )  # fmt: skip
    blocks: list[tuple[str, Block]] = [("cross_attn", cross), ("cross_ff", read.feed_forward(f"{prefix}.cross_ff"))]
    for j in range(config.self_per_cross_attn):
        query, key, value, output = read.attention(f"{prefix}.self_attns.{j}.0.fn")
        attention = SelfAttention(
            norm=read.norm(f"{prefix}.self_attns.{j}.0.norm"),
            projections=(query, key, value),
            output=output, heads=config.latent_heads, scale=config.latent_dim_head**-0.5,
        )  # fmt: skip
        blocks += [(f"self_attn.{j}", attention), (f"self_ff.{j}", read.feed_forward(f"{prefix}.self_attns.{j}.1"))]
    return Layer(tuple(blocks))
