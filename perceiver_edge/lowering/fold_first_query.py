"""The first cross-attend's query is a constant.

    q = LN(z) @ W_q + b, and the first z are the learned latents: nothing in it depends on the input.

It always pays: one normalisation and one projection of the latents less.
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
    # A first layer that runs again later keeps its query projection there.
    folded = Layer(((name, replace(block, query=query)), *first.blocks[1:]))
    reason = f"a constant of {query.size} numbers replaces a projection of {block.query.weight.size} weights"
    return replace(program, layers=(folded, *others)), Decision("fold_first_query", True, reason)


def normalise(x: Array, norm: Norm) -> Array:
    """Layer normalisation over the last axis, in numpy (Ba et al. 2016, with biased variance)."""
    centred = x - x.mean(-1, keepdims=True)
    x_hat = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + LAYER_NORM_EPSILON)
    return x_hat if norm.gamma is None or norm.beta is None else x_hat * norm.gamma + norm.beta
