"""The plain form of a Perceiver IO of perceiver-pytorch: its weights as a `Program`, before any rewrite."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perceiver_edge.config.perceiver_io import QUERIES, PerceiverIOConfig
from perceiver_edge.lowering.program import Block, Layer, Output, Program, Rows, Stack
from perceiver_edge.lowering.read_pytorch import Reader
from perceiver_edge.lowering.source import Lookup, Source


def plain_perceiver_io(
    config: PerceiverIOConfig, weights: Mapping[str, np.ndarray], input_shape: tuple[int, ...]
) -> Program:
    """Read weights under the names of `checkpoints.perceiver_io`; a decoder's cross-attend has no residual.

    Args:
        input_shape: the number of tokens.
    """
    read, block = Reader(weights), "cross_attend_block"
    encode = read.cross_attention(
        f"{block}.cross_attn", config.cross_heads, config.cross_dim_head, is_inverted=config.inverted_cross_attn
    )  # fmt: skip
    first = Layer((("cross_attn", encode), ("cross_ff", read.feed_forward(f"{block}.cross_ff"))))
    distinct = 1 if config.weight_tie_layers else config.depth
    layers = [_layer(config, read, index) for index in range(distinct)]
    layers += layers[-1:] * (config.depth - distinct)
    latents = read.array("latents")
    encoder = Stack("layers", latents, None, (first, *layers))
    source = _source(config, read, input_shape)
    if not config.has_decoder:
        output = Output(is_mean=False, norm=None, projection=None, shape=latents.shape)
        return Program(sources=(source,), stacks=(encoder,), output=output)
    rows = _queries(config, read, input_shape)
    decode = read.cross_attention(
        "decoder_cross_attn", config.cross_heads, config.cross_dim_head, is_residual=False
    )  # fmt: skip
    blocks: list[tuple[str, Block]] = [("cross_attn", decode)]
    if config.decoder_ff:
        blocks.append(("cross_ff", read.feed_forward("decoder_ff")))
    projection = None if config.outputs is None else read.linear("to_logits")
    count = input_shape[0] if config.is_language_model else config.num_queries
    output = Output(False, None, projection, (count, config.outputs or config.query_channels))
    decoder = Stack("decoder", rows, None, (Layer(tuple(blocks)),))
    return Program(sources=(source,), stacks=(encoder, decoder), output=output)


def _queries(config: PerceiverIOConfig, read: Reader, input_shape: tuple[int, ...]) -> Rows:
    """What the decoder asks with: the tokens, an input, or stored rows."""
    if config.is_language_model:
        return None
    if config.queries_are_input:
        return Source(QUERIES, config.beside(input_shape)[QUERIES], (), None)
    return read.array(QUERIES)


def _layer(config: PerceiverIOConfig, read: Reader, index: int) -> Layer:
    prefix = f"layers.{index}.self_attns.0"
    blocks: tuple[tuple[str, Block], ...] = read.self_attention(
        prefix, config.latent_heads, config.latent_dim_head, index=0
    )
    return Layer((*blocks, read.attention_residual(index)) if config.attn_residual else blocks)


def _source(config: PerceiverIOConfig, read: Reader, input_shape: tuple[int, ...]) -> Source:
    shape = config.sample_shape(input_shape)
    if not config.is_language_model:
        return Source("input", shape, (), None)
    positions = read.array("pos_emb.weight")[: input_shape[0]]
    return Source("input", shape, (Lookup(read.array("token_emb.weight")),), positions, adds_positions=True)
