"""The plain form: a Perceiver's weights as a `Program`, before any rewrite."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perceiver_edge.config import ModelConfig, PerceiverConfig
from perceiver_edge.config.huggingface import HuggingFaceConfig
from perceiver_edge.config.krasserm import KrassermConfig
from perceiver_edge.config.perceiver_io import PerceiverIOConfig
from perceiver_edge.fourier import fourier_encoding
from perceiver_edge.lowering.plain_huggingface import plain_huggingface
from perceiver_edge.lowering.plain_krasserm import plain_krasserm
from perceiver_edge.lowering.plain_perceiver_io import plain_perceiver_io
from perceiver_edge.lowering.program import Block, Layer, Output, Program, Stack
from perceiver_edge.lowering.read_pytorch import Reader
from perceiver_edge.lowering.source import Source


def plain_program(config: ModelConfig, weights: Mapping[str, np.ndarray], input_shape: tuple[int, ...]) -> Program:
    """Read the weights of a `Checkpoint` into a `Program`.

    Args:
        weights: arrays by canonical name; Linear weights are ``[out, in]``.
        input_shape: sizes of the input axes, without channels.
    """
    if isinstance(config, HuggingFaceConfig):
        return plain_huggingface(config, weights, input_shape)
    if isinstance(config, KrassermConfig):
        return plain_krasserm(config, weights, input_shape)
    if isinstance(config, PerceiverIOConfig):
        return plain_perceiver_io(config, weights, input_shape)
    return _plain_perceiver(config, weights, input_shape)


def _plain_perceiver(
    config: PerceiverConfig, weights: Mapping[str, np.ndarray], input_shape: tuple[int, ...]
) -> Program:
    """Weights under the names of `perceiver_edge.checkpoints.layout`."""
    read = Reader(weights)
    layers = _layers(config, read)
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


def _layers(config: PerceiverConfig, read: Reader) -> list[Layer]:
    """Tied layers are the first, which stands alone, and one that serves as all others; inverted or not, it is two."""
    last = 1 if config.weight_tie_layers else config.depth - 1
    uses = [(min(index, last), is_inverted) for index, is_inverted in enumerate(config.inverted_layers)]
    made = {use: _layer(config, read, *use) for use in dict.fromkeys(uses)}
    return [made[use] for use in uses]


def _layer(config: PerceiverConfig, read: Reader, index: int, is_inverted: bool) -> Layer:
    prefix = f"layers.{index}"
    cross = read.cross_attention(
        f"{prefix}.cross_attn", config.cross_heads, config.cross_dim_head, is_inverted=is_inverted
    )  # fmt: skip
    blocks: list[tuple[str, Block]] = [("cross_attn", cross), ("cross_ff", read.feed_forward(f"{prefix}.cross_ff"))]
    for j in range(config.self_per_cross_attn):
        blocks += read.self_attention(f"{prefix}.self_attns.{j}", config.latent_heads, config.latent_dim_head, index=j)
    if config.attn_residual:
        blocks.append(read.attention_residual(index))
    return Layer(tuple(blocks))
