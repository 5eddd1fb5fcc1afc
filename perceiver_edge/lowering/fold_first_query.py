"""The first cross-attend's query is a constant, and so is what its result is added to.

    q = LN(z) @ W_q + b, and the first z are learned (latents, a decoder's queries): nothing depends on the input;
    z + (a @ W_o + b_o) = (z + b_o) + a @ W_o, the output's bias joins the rows.

It always pays: one normalisation and one projection of the rows less. (Converters fold the bias by themselves, each
in its own way; done here, the projection's result is the same tensor in every artefact.)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perceiver_edge.config import LAYER_NORM_EPSILON
from perceiver_edge.lowering.program import (
    Array,
    CrossAttention,
    Extent,
    Layer,
    Linear,
    Norm,
    Program,
    Stack,
    with_stacks,
)
from perceiver_edge.lowering.rule import Decision


def fold_first_query(program: Program) -> tuple[Program, Decision]:
    """Evaluate the query projection of every stack's first cross-attend on the stack's learned rows."""
    found = [first for stack in program.stacks if (first := _first(stack)) is not None]
    if not found:
        return program, Decision("fold_first_query", False, "the first query is a constant already")
    weights = sum(query.weight.size for _, query in found)
    folded = with_stacks(program, _fold)
    numbers = sum(b.query.size for s in folded.stacks if isinstance((b := s.cross_attentions()[0]).query, np.ndarray))
    reason = f"a constant of {numbers} numbers replaces a projection of {weights} weights"
    return folded, Decision("fold_first_query", True, reason)


def _first(stack: Stack) -> tuple[CrossAttention, Linear] | None:
    """The block that a stack begins with, if its query can become a constant, and is none yet."""
    _, block = stack.layers[0].blocks[0]
    if (
        not isinstance(stack.rows, np.ndarray)
        or not isinstance(block, CrossAttention)
        or not isinstance(block.query, Linear)
    ):
        return None
    return block, block.query


def _fold(stack: Stack, _: Extent) -> Stack:
    found = _first(stack)
    if found is None or not isinstance(stack.rows, np.ndarray):
        return stack
    block, projection = found
    assert block.norm is not None and block.output is not None, "its rows are learned"
    query = normalise(stack.rows, block.norm) @ projection.weight
    if projection.bias is not None:
        query = query + projection.bias
    rows, bias = stack.rows, block.output.bias
    if block.is_residual:
        rows, bias = rows if bias is None else rows + bias, None
        if len(rows) == 1:  # a single row is what converters take for a bias, so it is one: calibrated with the product
            bias, rows = rows[0], np.zeros_like(rows)
    # A first layer that runs again later keeps its query projection and its bias there.
    first, *others = stack.layers
    attend = replace(block, query=query, output=Linear(block.output.weight, bias))
    layer = Layer(((first.blocks[0][0], attend), *first.blocks[1:]))
    return replace(
        stack, rows=rows, layers=(layer, *others), pooled_rows=stack.rows if stack.layers[0].pools else None
    )  # fmt: skip


def normalise(x: Array, norm: Norm) -> Array:
    """Layer normalisation over the last axis, in numpy (Ba et al. 2016, with biased variance)."""
    centred = x - x.mean(-1, keepdims=True)
    x_hat = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + LAYER_NORM_EPSILON)
    return x_hat if norm.gamma is None or norm.beta is None else x_hat * norm.gamma + norm.beta
