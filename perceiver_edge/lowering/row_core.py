"""Write attention among latents so that int8 computes its two products, and float its softmax.

    scores    s_t = q·(k_t − b)                           for any b: softmax ignores what a row has in common
    weights   w_t = exp(s_t − max_t s_t)                  0 < w_t ≤ 1, and 1 once in every row
    result    Σ w_t (v_t − c) / Σ w_t + c                 for any c, because Σ w_t / Σ w_t = 1

The maximum is each row's own, so that 8 bits of a weight are steps of 1/255 of the row's largest, however sharp or
diffuse the row is. The division comes last, in float. b and c are constants of each channel, about the means of keys
and values: most of what a deep layer reads is the same for every row, and 8 bits are spent on what is not. They cost
nothing:

    k − b = x̂ W_k + (b_k − b)       v − c = x̂ W_v + (b_v − c)       (a + c) W_o + b_o = a W_o + (b_o + c W_o)

Queries, keys and values are multiplied with numbers that cancel, so that each fills the range which they share
(`balance_heads`). Exact in float for any b, c and numbers.

A layer that is used several times is packed once by an engine as long as its products with weights have the same
numbers in every use: b, c and the ranges of queries, keys, values and results are of all uses. Scores and weighted sums
have no weights, and each use has ranges of its own, or stays in float. What a use's values have in common besides c is
taken from them, and given back to the result: c is then the use's own, for two cheap operators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from perceiver_edge.lowering.integer_core import STEPS
from perceiver_edge.lowering.program import Array, Block, Layer, Linear, Program, SelfAttention, Stack, bias_after

LEAST_PRODUCTS = 100_000_000
"""Multiply-accumulates of both products of a self-attend: the least for which a gain was measured, 0.5 of 1.1 ms. The
operators that are added cost more of a smaller one's."""

LEAST_SCORE = math.log(2 * STEPS)
"""A score this far under its row's largest has half a step's weight: what is lower weighs nothing, and may be cut."""

SUM_ROOM = 0.25
"""Widths of its own range by which a weighted sum may leave it: thousands of rows were seen, of all heads."""

SCORE_ROOM = 0.5
"""By which a row's largest score may be lower or higher than any that calibration saw."""


@dataclass(frozen=True, eq=False)
class Centring:
    """``means`` ``[h * d + h * e]``: what is taken from keys and values. ``key_scale``: what keys are multiplied with
    then, and queries divided by; ``value_scale``: what values are."""

    means: Array
    key_scale: float
    value_scale: float


def row_blocks(program: Program) -> dict[str, SelfAttention]:
    """The self-attends that gain by this form, by name."""
    return {
        name: block
        for stack, extent in zip(program.stacks, program.extents(), strict=True)
        for name, block in stack.named_blocks()
        if isinstance(block, SelfAttention)
        and len(block.projections) == 1
        and (block.parts == 1 and block.scale == 1.0 and stack.row_chunks == 1)
        and extent.rows**2 * (block.widths[0] + block.widths[2]) >= LEAST_PRODUCTS
    }


def with_row_cores(program: Program, centrings: Mapping[str, Centring], shifts: Mapping[str, Array | None]) -> Program:
    """The same program with self-attends in this form.

    Layers that shared everything differ then in which form they have; their weights stay one and the same.

    Args:
        centrings: by ``<stack>.<i>.<block>``: of all uses of a layer the same, or none has one.
        shifts: of those that have the form, what is taken from their values besides ``[h * e]``, in the units of the
            centred ones. Others with a centring have the weights of the form, and attend as before.
    """
    made: dict[int, SelfAttention] = {}
    layers: dict[tuple[object, ...], Layer] = {}

    def rewritten(name: str, block: Block) -> Block:
        if name not in centrings:
            return block
        assert isinstance(block, SelfAttention)
        if id(block) not in made:
            made[id(block)] = _centred(block, centrings[name])
        if name not in shifts:
            return made[id(block)]
        shift = shifts[name]
        shaped = None if shift is None else shift.reshape(1, block.heads, 1, -1)
        return replace(made[id(block)], has_row_core=True, shift=shaped)

    def of_layer(name: str, layer: Layer) -> Layer:
        named = {f"{name}.{of_block}": (of_block, block) for of_block, block in layer.blocks}
        key = id(layer), *((use in shifts, id(shifts.get(use))) for use in named)
        if key not in layers:
            layers[key] = Layer(tuple((of_block, rewritten(use, block)) for use, (of_block, block) in named.items()))
        return layers[key]

    def of_stack(stack: Stack) -> Stack:
        named = (of_layer(f"{stack.name}.{index}", layer) for index, layer in enumerate(stack.layers))
        return replace(stack, layers=tuple(named))

    return replace(program, stacks=tuple(of_stack(stack) for stack in program.stacks))


def _centred(block: SelfAttention, centring: Centring) -> SelfAttention:
    (qkv,), output = block.projections, block.output
    means = np.concatenate([np.zeros(block.widths[0]), centring.means])
    factors = (1 / centring.key_scale, centring.key_scale, centring.value_scale)
    scale = np.repeat(factors, block.widths)
    bias = (0.0 if qkv.bias is None else qkv.bias.astype(np.float64)) - means
    offset = bias_after(means[-block.widths[2] :], output)
    kind = qkv.weight.dtype
    return replace(
        block,
        projections=(Linear((qkv.weight * scale).astype(kind), (bias * scale).astype(kind)),),
        output=Linear((output.weight / centring.value_scale).astype(kind), offset.astype(kind)),
        is_centred=True,
    )
