"""Softmax without its maximum, where the weights prove that exp does without it.

    softmax(s) v = Σ_t exp(s_t) v_t / Σ_t exp(s_t)        the usual exp(s_t − max s) cancels in the division

The maximum is there so that exp cannot overflow, whatever s is. But both sides of a score are layer-normalised, and a
normalised token of C channels is never longer than √C, nor a normalised row of D channels longer than √D. With q̃ the
query carried back through the key projection of its head, so that it is scored against the token itself,

    |s_t| = |q̃ · x̂_t| ≤ |q̃| √C           |q̃| is known for a constant query, otherwise |q̃| ≤ ‖W_q W_kᵀ‖₂ √D + |b_q W_kᵀ|

(Cauchy and Schwarz; ‖·‖₂ is the largest singular value; normalised vectors sum to zero, so W loses its mean first).
This is a bound for every input there is, from the weights alone. Nothing is calibrated and nothing needs a guard: where
it is below `largest_exponent`, no sum overflows float32, and Σ exp is at least T exp(−bound), far from zero.

Sharper ones, whose weights allow more, are lowered row by row, by what the row at hand could exceed that exponent E by:

    c = max(0, |q̃| √C − E)            exp(s_t − c) v_t,   s_t − c ≤ E for every input; softmax ignores c

|q̃| is computed at run time, and −c is the row's channel for the tokens' ones: that costs no pass over the scores. The
weights that make q̃ lose their mean over C: no score changes, for x̂ sums to zero, and |q̃| is what the bound is of. It
cannot overflow. It loses nothing either where the row's largest score is at least |q̃| √C − E − R: a last bit of the
largest weight is then still a normal number (`reserve`). The rule asks that the weights' bound be below E + R, about
134. So a row leaves this only if its query is so long that |q̃| √C > E, and *every* token scores below 0. It fades then:
its weights vanish together, are divided by `exponential_attention.LEAST_TOTAL`, and it attends to less than an average
of the tokens. Neither infinity nor 0/0 comes out, and a comparison with the float reference shows it where a sample
does it.

A mask may leave one token, and that one may score below 0. So scores are lowered only where there is no mask, and where
keys and values are absorbed: the channel of ones is the context's. Elsewhere the bound has to be below E. Where the
proof fails, the maximum stays.

Trained models have bounds of 12 to 85 and queries of 12 to 66; E is about 75.

What it saves is passes over the scores: of one chunk of tokens after another nothing is kept but two sums, so a chunk's
scores live and die in a cache, and the division is one a row. A key's bias is one number for a whole row of scores,
which softmax ignores; here it would count against the bound, so it is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from perceiver_edge.lowering.chunk_keys import at_once, fitting_chunks
from perceiver_edge.lowering.program import (
    Array,
    Block,
    CrossAttention,
    Extent,
    Linear,
    Norm,
    Program,
    Stack,
    map_blocks,
    split_heads,
)
from perceiver_edge.lowering.rule import Decision

CHUNK_BYTES = 2 << 20
"""Of float32 scores at a time. Scores that fit at once stay whole: in one piece it is no faster than softmax."""

FEW_ROWS_BYTES = 1 << 20
"""Of float32 scores from which on it is faster even in one piece, where rows are few (`is_by_token`)."""

FEW_ROWS = 64
"""Engines pack the right side of a product anew each time, which takes as long as multiplying it with some tens of
rows. Fewer rows than these are better the right side themselves (`exponential_attention.attend_by_token`)."""

HEADROOM = 2.0
"""Natural logarithms kept free under the largest float32: the values are not quite as short as √C (`fold_centring`)."""

LAST_BIT = 17.0
"""Natural logarithms that a weight can lie under the largest of its row and count in float32: 24 bits."""


def drop_maximum(program: Program) -> tuple[Program, Decision]:
    """Let every cross-attend with many scores, and with a proof, take its tokens in chunks and without a maximum."""
    large = list(_with_large_scores(program))
    if not large:
        return program, Decision("drop_maximum", False, "the scores of every cross-attend are few")
    bounds = {id(block): largest_score(block, stack, extent) for block, stack, extent in large}
    limits = {id(block): largest_exponent(block, extent) for block, _, extent in large}
    most = {id(block): largest_bound(block, extent, masked=program.is_masked(stack)) for block, stack, extent in large}
    ceilings = {
        id(block): None if bounds[id(block)] < limits[id(block)] else limits[id(block)]
        for block, _, _ in large
        if bounds[id(block)] < most[id(block)]
    }
    chunks = {
        id(block): fitting_chunks(at_once(stack, extent), block, bytes_per_score=4, limit_bytes=CHUNK_BYTES)
        for block, stack, extent in large
        if id(block) in ceilings
    }
    decision = Decision("drop_maximum", bool(chunks), _reason(bounds, limits, ceilings, chunks))
    if not chunks:
        return program, decision
    without_bias: dict[int, Linear] = {}

    def rewrite(block: Block) -> Block:
        if not isinstance(block, CrossAttention) or id(block) not in chunks:
            return block
        key = block.key
        if key is not None and key.bias is not None:
            key = without_bias.setdefault(id(key), Linear(key.weight))
        ceiling = ceilings[id(block)]
        query = block.query if ceiling is None else _without_mean(block)
        return replace(block, query=query, key=key, has_maximum=False, ceiling=ceiling, chunks=chunks[id(block)])

    return map_blocks(program, rewrite), decision


def with_maximum(program: Program) -> Program:
    """The same program with every maximum back and no chunks: what half precision, and a GPU, want.

    The program itself where no maximum was dropped.
    """
    if all(block.has_maximum for block in program.cross_attentions()):
        return program

    def rewrite(block: Block) -> Block:
        if not isinstance(block, CrossAttention) or block.has_maximum:
            return block
        return replace(block, has_maximum=True, ceiling=None, is_by_line=False, chunks=1)

    return map_blocks(program, rewrite)


def is_by_token(block: CrossAttention, extent: Extent) -> bool:
    """Whether a core without a maximum has a row of weights for each token: its rows are few, and read the context."""
    return block.key is None and block.value is None and block.heads * extent.rows < FEW_ROWS


def largest_score(block: CrossAttention, stack: Stack, extent: Extent) -> float:
    """No score of this cross-attend is further from 0, whatever the input; infinite where there is no proof."""
    context_is_plain = not isinstance(stack.context_norm, Norm) or stack.context_norm.gamma is None
    if block.context_norm is not None or stack.context_norm is None or not context_is_plain:
        return math.inf
    longest_token = math.sqrt(extent.channels) * abs(block.scale)
    if block.norm is not None and block.norm.gamma is not None:
        return math.inf
    if block.query is None:
        return longest_token * _longest_row_as_key(block, extent)
    if not isinstance(block.query, Linear):
        return longest_token * float(np.linalg.norm(_carried(block.query, block), axis=-1).max())
    weight = block.query.weight - block.query.weight.mean(axis=0)
    longest = [math.sqrt(extent.width) * np.linalg.norm(head, 2) for head in _carried(weight, block)]
    if block.query.bias is not None:
        biases = np.linalg.norm(_carried(block.query.bias[None], block)[:, 0], axis=-1)
        longest = [length + bias for length, bias in zip(longest, biases, strict=True)]
    return longest_token * float(max(longest))


def _longest_row_as_key(block: CrossAttention, extent: Extent) -> float:
    """Of rows that are scored as they are, and have a one after their channels, carried to the tokens."""
    assert block.key is not None and block.key.bias is None, "see `absorb_rows`"
    weight = block.key.weight - block.key.weight.mean(axis=0)
    *of_channels, of_one = weight.T
    return math.sqrt(extent.width) * float(np.linalg.norm(of_channels, 2)) + float(np.linalg.norm(of_one))


def largest_exponent(block: CrossAttention, extent: Extent) -> float:
    """A score of which exp, times the largest value and the number of tokens, is still a float32."""
    largest_value = math.sqrt(extent.channels)
    if block.value is not None:
        largest_value *= float(np.linalg.norm(block.value.weight, axis=0).max())
        largest_value += 0.0 if block.value.bias is None else float(np.abs(block.value.bias).max())
    return math.log(np.finfo(np.float32).max) - math.log(extent.tokens) - math.log(max(largest_value, 1.0)) - HEADROOM


def reserve(extent: Extent) -> float:
    """How far under 0 a row's largest score may lie: weights a last bit of the largest, of all tokens, are normal."""
    return -math.log(np.finfo(np.float32).tiny) - math.log(extent.tokens) - LAST_BIT


def largest_bound(block: CrossAttention, extent: Extent, *, masked: bool) -> float:
    """What a bound of scores has to be below for the maximum to be dropped.

    Scores can be lowered where keys and values are the context, which can have a last channel of ones.
    """
    can_be_lowered = block.key is None and block.value is None and not masked
    return largest_exponent(block, extent) + (reserve(extent) if can_be_lowered else 0.0)


def _without_mean(block: CrossAttention) -> Linear | Array:
    """The query of absorbed keys, each head's without its mean over the channels of a token."""

    def centred(queries: Array) -> Array:  # [n, h * C]
        by_head = queries.reshape(len(queries), block.heads, -1)
        return (by_head - by_head.mean(axis=-1, keepdims=True)).reshape(queries.shape)

    query = block.query
    assert query is not None, "rows that ask as they are have keys"
    if not isinstance(query, Linear):
        return centred(query)
    return Linear(centred(query.weight), None if query.bias is None else centred(query.bias[None])[0])


def _carried(queries: Array, block: CrossAttention) -> Array:
    """Queries ``[n, heads * d]`` as they are scored against normalised tokens, ``[heads, n, C]``, less their mean."""
    carried = split_heads(queries, block.heads)
    if block.key is not None:
        carried = carried @ split_heads(block.key.weight, block.heads).transpose(0, 2, 1)
    return carried - carried.mean(axis=-1, keepdims=True)


def _with_large_scores(program: Program) -> Iterator[tuple[CrossAttention, Stack, Extent]]:
    for stack, extent in zip(program.stacks, program.extents(), strict=True):
        for block in {id(block): block for block in stack.cross_attentions()}.values():
            if block.is_inverted or not block.has_maximum:
                continue
            least_bytes = FEW_ROWS_BYTES if is_by_token(block, extent) else CHUNK_BYTES
            if 4 * block.heads * at_once(stack, extent).rows * extent.tokens > least_bytes:
                yield block, stack, extent


def _reason(
    bounds: dict[int, float], limits: dict[int, float], ceilings: dict[int, float | None], chunks: dict[int, int]
) -> str:
    proven = [bounds[key] for key, ceiling in ceilings.items() if ceiling is None]
    lowered = [bounds[key] for key, ceiling in ceilings.items() if ceiling is not None]
    others = [bounds[key] for key in bounds if key not in chunks]
    most = f"exp overflows at {min(limits.values()):.0f}"
    parts = [f"{len(chunks)} of {len(bounds)} large cross-attends"]
    if proven:
        parts[0] += f": by its weights no input can give a score over {max(proven):.0f}, {most}"
    if lowered:
        parts.append(
            f"the weights of {len(lowered)} allow scores up to {max(lowered):.0f}: each row's are lowered by what its "
            f"own query allows over {min(limits.values()):.0f}"
        )
    if chunks:
        parts.append(f"the tokens in up to {max(chunks.values())} chunks")
    if others:
        parts.append(f"the weights of {len(others)} allow scores of {min(others):.0f} and more, {most}: softmax stays")
    return "; ".join(parts)
