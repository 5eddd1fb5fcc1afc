"""Absorb the key projection into the query, and the value projection into the output.

    scores:     q @ (x̂ W_k + b_k)ᵀ = (q W_kᵀ) @ x̂ᵀ + (q · b_k)
                the last term is one number per query, which softmax ignores, so it is dropped;
    aggregate:  p @ (x̂ W_v + b_v) W_o + b_o = (p @ x̂) (W_v W_o) + (b_v W_o + b_o)
                because the rows of p = softmax(scores) sum to 1.

Per head, with the head's own columns of the weights. No keys and no values are ever made: with a context of T rows of
C channels, N rows of width D that ask (latents, or the decoder's queries) and h heads of d channels, the
multiplications per cross-attend change like this:

    before   T·C·hd / uses  (project the context; layers that share the weights share the result)
             + N·T·hd       (scores or aggregation)
             + N·D·hd       (query or output projection)
    after    N·T·hC + N·D·hC

A gain where C is at most about d, a loss where C is much larger; the cost model decides per cross-attend.
Precondition: the context is shared (`share_context`), so that one x̂ serves as the keys and values of all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from perceiver_edge.lowering.program import (
    Array,
    Block,
    CrossAttention,
    Extent,
    Linear,
    Program,
    bias_after,
    map_blocks,
    split_heads,
)
from perceiver_edge.lowering.rule import Decision


def absorb_keys(program: Program) -> tuple[Program, Decision]:
    """Score queries against the context itself wherever that is cheaper."""
    return _absorb(program, "absorb_keys", "key")


def absorb_values(program: Program) -> tuple[Program, Decision]:
    """Aggregate the context itself wherever that is cheaper."""
    return _absorb(program, "absorb_values", "value")


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates for one cross-attend's scores or aggregation, before and after absorption."""

    before_macs: float
    after_macs: float


def absorption_cost(extent: Extent, *, heads: int, head_channels: int, uses: int) -> Cost:
    """Apply the formulas above. ``uses`` is how many cross-attends share the projection of the context."""
    T, C, N, D, h = extent.tokens, extent.channels, extent.rows, extent.width, heads
    hd = h * head_channels
    return Cost(before_macs=T * C * hd / uses + N * T * hd + N * D * hd, after_macs=N * T * h * C + N * D * h * C)


def _absorb(program: Program, rule: str, field: Literal["key", "value"]) -> tuple[Program, Decision]:
    blocks = [
        (block, extent)
        for stack, extent in zip(program.stacks, program.extents(), strict=True)
        for block in stack.cross_attentions()
        if getattr(block, field) is not None
        and not block.is_inverted
        and (block.query if field == "key" else block.output) is not None  # `absorb_rows`
    ]
    if not blocks:
        return program, Decision(rule, False, f"no cross-attend has a {field} projection that can be absorbed")
    if any(block.context_norm is not None for block, _ in blocks):
        return program, Decision(rule, False, "the context is not shared yet")
    uses = Counter(id(getattr(block, field)) for block, _ in blocks)
    costs = {}
    for block, extent in blocks:
        linear: Linear = getattr(block, field)
        head_channels = linear.weight.shape[1] // block.heads
        costs[id(linear)] = absorption_cost(
            extent, heads=block.heads, head_channels=head_channels, uses=uses[id(linear)]
        )
    pays = {key for key, cost in costs.items() if cost.after_macs < cost.before_macs}
    before, after = (sum(uses[k] * getattr(c, f) for k, c in costs.items()) for f in ("before_macs", "after_macs"))
    reason = (
        f"{len(pays)} of {len(costs)} distinct {field} projections: {before:,.0f} MACs plain, {after:,.0f} absorbed"
    )
    if not pays:
        return program, Decision(rule, False, reason)
    without = without_keys if field == "key" else without_values

    def rewrite(block: Block) -> Block:
        return without(block) if isinstance(block, CrossAttention) and id(getattr(block, field)) in pays else block

    return map_blocks(program, rewrite), Decision(rule, True, reason)


def without_keys(block: CrossAttention) -> CrossAttention:
    """The same cross-attend with the query scored against the context; its context must be shared."""
    assert block.key is not None and block.query is not None
    key = split_heads(block.key.weight, block.heads)  # [h, C, d]

    def absorbed(queries: Array) -> Array:  # [n, h * d] → [n, h * C]
        return np.concatenate(split_heads(queries, block.heads) @ key.transpose(0, 2, 1), axis=1)

    if not isinstance(block.query, Linear):
        return replace(block, query=absorbed(block.query), key=None)
    bias = None if block.query.bias is None else absorbed(block.query.bias[None])[0]
    return replace(block, query=Linear(absorbed(block.query.weight), bias), key=None)


def without_values(block: CrossAttention) -> CrossAttention:
    """The same cross-attend with the context aggregated; its context must be shared."""
    assert block.value is not None and block.output is not None
    value = split_heads(block.value.weight, block.heads)  # [h, C, d]
    output = block.output.weight.reshape(block.heads, value.shape[2], -1)  # [h, d, D]
    weight = np.concatenate(value @ output, axis=0)  # [h * C, D]
    bias = block.output.bias
    if block.value.bias is not None:
        bias = bias_after(block.value.bias, block.output)
    return replace(block, value=None, output=Linear(weight, bias))
