"""The weights of a Perceiver IO of perceiver-pytorch: names and shapes, and reading them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perceiver_edge.checkpoints.layout import Shapes, attention, attention_residual, feed_forward, linear, norm
from perceiver_edge.checkpoints.validation import fit_shapes
from perceiver_edge.config.perceiver_io import QUERIES, PerceiverIOConfig


def perceiver_io_shapes(config: PerceiverIOConfig) -> Shapes:
    """Name and shape of every weight under the names of perceiver-pytorch 0.11, without a language model's prefix."""
    c, cross, width = config, config.cross_heads * config.cross_dim_head, config.latent_dim
    shapes: Shapes = {"latents": (c.num_latents, width)}
    if c.is_language_model:
        shapes |= {"token_emb.weight": (c.num_tokens or 0, c.dim), "pos_emb.weight": (c.max_seq_len or 0, c.dim)}
    block = "cross_attend_block"
    shapes |= norm(f"{block}.cross_attn.norm", width) | norm(f"{block}.cross_attn.norm_context", c.dim)
    shapes |= attention(f"{block}.cross_attn.fn", width, c.dim, cross) | feed_forward(f"{block}.cross_ff", width)
    for index in range(1 if c.weight_tie_layers else c.depth):
        layer = f"layers.{index}.self_attns.0"
        shapes |= norm(f"{layer}.0.norm", width) | feed_forward(f"{layer}.1", width)
        shapes |= attention(f"{layer}.0.fn", width, width, c.latent_heads * c.latent_dim_head)
        if c.attn_residual:
            shapes |= attention_residual(f"attn_residuals.{index}", width, c.attn_residual_rank)
    if not c.has_decoder:
        return shapes
    query = c.query_channels
    if not (c.is_language_model or c.queries_are_input):
        shapes |= {QUERIES: (c.num_queries, query)}
    shapes |= norm("decoder_cross_attn.norm", query) | norm("decoder_cross_attn.norm_context", width)
    shapes |= attention("decoder_cross_attn.fn", query, width, cross)
    if c.decoder_ff:
        shapes |= feed_forward("decoder_ff", query)
    return shapes if c.outputs is None else shapes | linear("to_logits", query, c.outputs)


def fit_perceiver_io(
    config: PerceiverIOConfig, tensors: Mapping[str, np.ndarray], *, where: object
) -> dict[str, np.ndarray]:
    """The weights in order, float32. A file of a model without queries may have the decoder's weights all the same.

    Raises:
        BadInputError: as `fit_shapes`.
    """
    renamed = {name.removeprefix("perceiver_io."): tensor for name, tensor in tensors.items()}
    shapes = perceiver_io_shapes(config)
    if not config.has_decoder:
        decoder = ("decoder_cross_attn.", "decoder_ff.", "to_logits.")
        renamed = {name: tensor for name, tensor in renamed.items() if not name.startswith(decoder)}
    if config.weight_tie_layers:  # torch writes the one shared layer out once for each use
        renamed = {n: t for n, t in renamed.items() if n in shapes or not n.startswith(("layers.", "attn_residuals."))}
    fix = f"check the arguments, and store the decoder's queries with the weights as {QUERIES!r}, or say that they are "
    fix += "an input: queries_are_input true"
    return fit_shapes(shapes, renamed, where=where, fix=fix)
