"""Bring queries, keys and values of a self-attend to one magnitude, for one int8 range serves all three.

    (q ∘ a) (k / a)ᵀ = q kᵀ            a scales the channels of a head
    (P (t v)) (W_o / t) = (P v) W_o    t is a number

Once the score scale is folded into the queries, they are √d times as small as the keys. `fuse_qkv` gives all three as
one product, and its range is that of the largest: the queries of a head of 128 channels kept 23 of 256 steps. The
magnitude of a channel is taken from its weights, for what they multiply is normalised. Exact, and free at run time.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perceiver_edge.lowering.program import Array, Block, Linear, Program, SelfAttention, map_blocks, scaled
from perceiver_edge.lowering.rule import Decision

_EVEN = 1e-6
"""Factors this near to 1 change nothing that is worth a rewrite."""


def balance_heads(program: Program) -> tuple[Program, Decision]:
    """Balance every self-attend that has three projections; `fuse_qkv` makes one of them."""
    blocks = [block for _, block in program.named_blocks() if isinstance(block, SelfAttention)]
    uneven = [block for block in blocks if len(block.projections) > 1 and not _is_even(*_factors(block))]
    if not uneven:
        return program, Decision("balance_heads", False, "no self-attend has separate projections to balance")
    reason = f"queries, keys and values of one magnitude, so that they share a range of int8, {len(uneven)} times"
    return map_blocks(program, _balance), Decision("balance_heads", True, reason)


def _balance(block: Block) -> Block:
    if not isinstance(block, SelfAttention) or len(block.projections) == 1:
        return block
    query, key, value = block.projections
    channels, whole = _factors(block)
    if _is_even(channels, whole):
        return block
    projections = (scaled(query, channels), scaled(key, 1 / channels), scaled(value, whole))
    return replace(
        block, projections=projections, output=replace(block.output, weight=block.output.weight / whole)
    )  # fmt: skip


def _factors(block: SelfAttention) -> tuple[Array, float]:
    """What the query's channels are multiplied with ``[h * d]``, and the number that the values are."""
    query, key, value = (_magnitudes(linear) for linear in block.projections)
    channels = np.sqrt(np.divide(key, query, out=np.ones_like(key), where=(query > 0) & (key > 0)))
    largest, of_values = max((query * channels).max(), (key / channels).max()), value.max()
    return channels, float(largest / of_values) if largest > 0 and of_values > 0 else 1.0


def _is_even(channels: Array, whole: float) -> bool:
    return bool(np.abs(channels - 1).max() < _EVEN and abs(whole - 1) < _EVEN)


def _magnitudes(linear: Linear) -> Array:
    """Of each output ``[out]``, where inputs have mean 0 and variance 1."""
    power = np.square(linear.weight).sum(axis=0)
    return np.sqrt(power if linear.bias is None else power + np.square(linear.bias))
