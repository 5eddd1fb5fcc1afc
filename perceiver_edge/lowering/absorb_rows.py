"""Absorb the query projection into the keys, and the output projection into the values.

    scores:     (x̂ W_q + b_q) kᵀ = x̂ (k W_qᵀ)ᵀ + b_q · k
                the last term is one number per token: it is another channel of the keys, against a one of the rows;
    aggregate:  (p v) W_o + b_o = p (v W_o + b_o)
                because the rows of p = softmax(scores) sum to 1.

`absorb` moves weights from the tokens to the rows that ask; this is its mirror image, for many rows that ask few
tokens: a decoder with a query for every pixel. What is projected then are the tokens alone. With T tokens of C
channels, N rows of width D and one head of d channels, multiplications change like this:

    before   T·C·d + N·T·d + N·D·d          after    T·C·D + N·T·D

A gain where D is at most about d. A key's own bias is one number a row, which softmax ignores.

Preconditions: the context is shared (`share_context`), one head, and rows that are not learned: their query is no
constant.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perceiver_edge.lowering.program import (
    Block,
    CrossAttention,
    Extent,
    Linear,
    Program,
    Stack,
    map_stack,
    with_stacks,
)
from perceiver_edge.lowering.rule import Decision


def absorb_rows(program: Program) -> tuple[Program, Decision]:
    """Score rows as they are against keys, and let values be what comes out, wherever that is cheaper."""
    absorbed = with_stacks(program, _absorbed)
    changed = [
        (new, extent)
        for old, new, extent in zip(program.stacks, absorbed.stacks, program.extents(), strict=True)
        if new is not old
    ]
    if not changed:
        return program, Decision("absorb_rows", False, "no rows ask for which it would be cheaper")
    of = ", ".join(f"{extent.rows:,} rows that ask {extent.tokens:,}" for _, extent in changed)
    return absorbed, Decision("absorb_rows", True, f"no projection of {of}")


def pays(extent: Extent, channels: int) -> bool:
    """Whether it is cheaper, for a projection to or from so many ``channels``; see the formulas above."""
    T, C, N, D, d = extent.tokens, extent.channels, extent.rows, extent.width, channels
    return T * C * d + N * T * d + N * D * d > T * C * D + N * T * D


def _absorbed(stack: Stack, extent: Extent) -> Stack:
    if isinstance(stack.rows, np.ndarray) or stack.context_norm is None:
        return stack

    def rewrite(block: Block) -> Block:
        if not isinstance(block, CrossAttention) or block.heads > 1 or block.is_inverted or block.core is not None:
            return block
        key, value, query, output = block.key, block.value, block.query, block.output
        if key is not None and isinstance(query, Linear) and pays(extent, key.weight.shape[1]):
            key, query = _key(query, key), None
        if value is not None and output is not None and pays(extent, value.weight.shape[1]):
            value, output = _value(value, output), None
        if query is block.query and output is block.output:
            return block
        return replace(block, key=key, value=value, query=query, output=output)

    rewritten = map_stack(stack, rewrite)
    before, after = stack.cross_attentions(), rewritten.cross_attentions()
    return rewritten if any(a is not b for a, b in zip(before, after, strict=True)) else stack


def _key(query: Linear, key: Linear) -> Linear:
    """``[C, D + 1]``: the last channel is scored against ones."""
    bias = np.zeros(query.weight.shape[1]) if query.bias is None else query.bias
    return Linear(key.weight @ np.concatenate([query.weight, bias[None]]).T)


def _value(value: Linear, output: Linear) -> Linear:
    bias = 0.0 if output.bias is None else output.bias
    if value.bias is not None:
        bias = value.bias @ output.weight + bias
    return Linear(value.weight @ output.weight, bias if isinstance(bias, np.ndarray) else None)
