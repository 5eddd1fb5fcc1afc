"""The first cross-attend's query is a constant, and so is what its result is added to.

    q = LN(z) @ W_q + b, and the first z are the learned latents: nothing in it depends on the input;
    z + (a @ W_o + b_o) = (z + b_o) + a @ W_o, the output's bias joins the latents.

It always pays: one normalisation and one projection of the latents less. (Converters fold the bias by themselves, each
in its own way; done here, the projection's result is the same tensor in every artefact.)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perceiver_edge.config import LAYER_NORM_EPSILON
from perceiver_edge.lowering.program import Array, CrossAttention, Layer, Linear, Norm, Program
from perceiver_edge.lowering.rule import Decision


def fold_first_query(program: Program) -> tuple[Program, Decision]:
    """Evaluate the first layer's query projection on the learned latents."""
    first, *others = program.layers
    name, block = first.blocks[0]
    if not isinstance(block, CrossAttention) or not isinstance(block.query, Linear):
        return program, Decision("fold_first_query", False, "the first query is a constant already")
    query = normalise(program.latents, block.norm) @ block.query.weight
    if block.query.bias is not None:
        query = query + block.query.bias
    latents = program.latents if block.output.bias is None else program.latents + block.output.bias
    bias = None
    if len(latents) == 1:  # a single row is what converters take for a bias, so it is one: calibrated with the product
        bias, latents = latents[0], np.zeros_like(latents)
    # A first layer that runs again later keeps its query projection and its bias there.
    first_attend = replace(block, query=query, output=Linear(block.output.weight, bias))
    folded = Layer(((name, first_attend), *first.blocks[1:]))
    reason = f"a constant of {query.size} numbers replaces a projection of {block.query.weight.size} weights"
    return replace(program, latents=latents, layers=(folded, *others)), Decision("fold_first_query", True, reason)


def normalise(x: Array, norm: Norm) -> Array:
    """Layer normalisation over the last axis, in numpy (Ba et al. 2016, with biased variance)."""
    centred = x - x.mean(-1, keepdims=True)
    x_hat = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + LAYER_NORM_EPSILON)
    return x_hat if norm.gamma is None or norm.beta is None else x_hat * norm.gamma + norm.beta
