"""Write the core of a cross-attend (scores, softmax, weighted sum) so that int8 can compute it.

An int8 softmax has the fixed scale 1/256 and turns a diffuse row over many tokens into zeros. The softmax is therefore
taken apart, and the division comes last, on one number a row. With queries q, keys k_t and values v_t, t = 1 … T:

    keys      k̃_t = k_t − mean(k)         a shift of a whole row of scores, which softmax ignores
    values    ṽ_t = v_t − mean(v)         Σ p_t v_t = Σ p_t ṽ_t + mean(v), because Σ p_t = 1
    weights   w_t = exp(q·k̃_t − b)        softmax is the same for any b; with b ≥ max_t q·k̃_t, 0 < w_t ≤ 1
    result    Σ w_t ṽ_t / Σ w_t + mean(v)

b, the row's ``bound``, is a constant: latents are learned, so each row keeps its role from input to input. It enters
through channels of ones appended to the keys. Keys and values are centred so that eight bits are spent on what differs.

No engine has an int8 exp, but each has a table of 256 entries for another function that it can be had from:

    elu       exp(y) = elu(y) + 1                for y ≤ 0; the 1 adds Σ ṽ_t to the weighted sum and T to Σ w_t
    sigmoid   exp(y − s) ≈ sigmoid(y − s)        within a factor 1 + exp(−s), s = `SIGMOID_SHIFT`

The tokens are taken in chunks, whose sums are added in float: a chunk fits a cache, and rounding errors of the chunks
cancel. As the bound is known there is no running maximum: a plain sum merges them. Each chunk is a sample of the whole
(`token_order`, in which data and positions are put first): its values are nearly centred, too, and so its sum is small.

Once the values are rounded to int8 their mean is not zero any more. Their sum is taken once, in float, for the 1 that
elu lacks, and their mean is taken from the result.

Exact in float (elu) as long as no score exceeds its bound; int8 saturates there. What int8 loses is estimated on the
calibration samples, and a cross-attend that would lose too much keeps its float softmax
(`perceiver_edge.compiler.cores`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.lowering.chunk_keys import MOST_CHUNKS, fitting_chunks, token_order
from perceiver_edge.lowering.program import (
    Array,
    Block,
    ContextScale,
    CrossAttention,
    Exponential,
    IntegerCore,
    Layer,
    Linear,
    Moments,
    Program,
    Stack,
    TokenTables,
)
from perceiver_edge.lowering.source import AxisPositions, Source, over_axis

SHIFT_CHANNELS = 3
"""Channels of ones: several, because the query's side of them shares a scale with the query, and they carry more."""

SIGMOID_SHIFT = 5.0
"""Weights near the bound come out 0.7 % too small; a larger shift costs resolution of the scores."""

STEPS = 255

SCORE_RANGE = math.log(2 * STEPS) * STEPS / (STEPS - 0.5)
"""Scores are kept from this far under their bound. The weight of half a step lies in the middle between the last two
entries of the table: on none of them, where engines would round as they like, and the last one is 0."""

UNSATURATED = 64
"""What keys and values that are read as they are reach in ONNX, instead of 127: with more, x86 without VNNI saturates
sums of their products (`converters.onnx.unsaturated`). Projected ones are uint8 there, and saturate nothing."""

ROOM = 0.5
"""Widths of its own range by which a chunk's sum may leave it on a new sample."""

CHUNK_BYTES = 2 << 20
"""Of int8 scores at a time: what second-level caches of two cores hold. Smaller chunks are no faster."""


@dataclass(frozen=True)
class Bound:
    """``bound`` ``[groups * rows]``, and the value of the channels of ones in keys and values."""

    bound: Array
    key_ones: float
    value_ones: float


MOST_TOKENS = 4096
"""Of a chunk. LiteRT's int8 SUM adds in 16 bits where there is no AVX512, and overflows without a word: from 4,100
tokens on with SSE4.1, from 8,200 with AVX2 (tests/contracts). Sums of products, in 32 bits, hold 66,311."""


def integer_blocks(program: Program) -> dict[str, CrossAttention]:
    """The cross-attends that have an int8 form, by name: those to the tokens of one source, which are many.

    Keys and values are both absorbed, or both projected from the shared context, and no sum overflows. None where the
    tokens are a decoder's queries too: chunks change their order, and that is the output's.
    """
    if _unsuited_tokens(program) is not None:
        return {}
    return {
        name: block
        for name, block in program.encoder.named_blocks()
        if isinstance(block, CrossAttention)
        and not block.is_inverted
        and (block.context_norm is None and block.scale == 1.0 and (block.key is None) == (block.value is None))
    }


def why_none(program: Program) -> str:
    """Why `integer_blocks` finds none."""
    return _unsuited_tokens(program) or "none is a softmax over a shared context"


def _unsuited_tokens(program: Program) -> str | None:
    if any(stack.rows is None for stack in program.stacks):
        return "the tokens are a decoder's queries, too"
    if len(program.sources) > 1:
        return "the tokens are of several sources"
    if isinstance(program.encoder.context_norm, TokenTables):
        return "the tokens are looked up in tables"
    if program.tokens // num_chunks(program) > MOST_TOKENS:
        most = f"{MOST_CHUNKS} equal chunks of at most {MOST_TOKENS:,}"
        return f"{program.tokens:,} tokens cannot be divided into up to {most}"
    return None


def with_ones(linear: Linear, *, groups: int, ones: float) -> Linear:
    """The projection without its bias, and after each group's channels `SHIFT_CHANNELS` that are always ``ones``."""
    channels = linear.weight.shape[0]
    weight = linear.weight.reshape(channels, groups, -1)
    bias = np.zeros((groups, weight.shape[2]))
    weight = np.concatenate([weight, np.zeros((channels, groups, SHIFT_CHANNELS))], axis=2)
    bias = np.concatenate([bias, np.full((groups, SHIFT_CHANNELS), ones)], axis=1)
    return Linear(weight.reshape(channels, -1), bias.reshape(-1))


def groups_and_rows(block: CrossAttention, num_latents: int) -> tuple[int, int]:
    """Key matrices, and query rows for each: one for all heads where the keys are absorbed, otherwise one a head."""
    return (1, block.heads * num_latents) if block.key is None else (block.heads, num_latents)


def num_chunks(program: Program) -> int:
    """Chunks of at most `MOST_TOKENS` whose int8 scores for all rows, of the cross-attend with most heads, fit
    `CHUNK_BYTES`."""
    largest, extent = max(program.encoder.cross_attentions(), key=lambda block: block.heads), program.extents()[0]
    limit = min(CHUNK_BYTES, largest.heads * extent.rows * MOST_TOKENS)
    # In another order than the grid's: no chunk has whole lines.
    return fitting_chunks(replace(extent, lines=1), largest, bytes_per_score=1, limit_bytes=limit)


def with_integer_cores(
    program: Program,
    bounds: Mapping[str, Bound],
    *,
    exponential: Exponential,
) -> Program:
    """The same program with the cross-attends named in ``bounds`` (``layers.<i>.<block>``) in their int8 form.

    Layers that shared everything no longer share their bound; their weights stay one and the same.
    """
    stack, extent = program.encoder, program.extents()[0]
    made: dict[tuple[int, float], Linear] = {}

    def projection(linear: Linear | None, groups: int, ones: float) -> Linear | None:
        if linear is None:
            return None
        return made.setdefault((id(linear), ones), with_ones(linear, groups=groups, ones=ones))

    def rewritten(name: str, block: Block) -> Block:
        if not isinstance(block, CrossAttention):
            return block
        block = replace(block, is_by_line=False)  # tokens are in the order of chunks
        if name not in bounds:
            return block
        given = bounds[name]
        groups, rows = groups_and_rows(block, extent.rows)
        core = IntegerCore(
            bound=given.bound.reshape(groups, rows),
            key_ones=given.key_ones,
            value_ones=given.value_ones,
            exponential=exponential,
            mean_value=block.value,
        )
        return replace(
            block,
            core=core,
            key=projection(block.key, groups, given.key_ones),
            value=projection(block.value, groups, given.value_ones),
        )

    layers = tuple(
        Layer(tuple((name, rewritten(f"{stack.name}.{index}.{name}", block)) for name, block in layer.blocks))
        for index, layer in enumerate(stack.layers)
    )
    return _in_chunks(program, replace(stack, layers=layers), num_chunks(program))


def _in_chunks(program: Program, encoder: Stack, chunks: int) -> Program:
    """Softmax does not ask for the order of tokens."""
    (source,), norm = program.sources, encoder.context_norm
    assert isinstance(source, Source), "see `integer_blocks`"
    order = token_order(source.tokens, chunks)
    if isinstance(norm, ContextScale):
        (moments,) = norm.moments
        assert moments is not None, "a source that is an input has moments"
        norm = ContextScale((Moments(_in_order(moments.mean, order), _in_order(moments.square, order)),))
    positions = source.positions.whole() if isinstance(source.positions, AxisPositions) else source.positions
    positions = None if positions is None else positions[order]
    encoder = replace(encoder, context_norm=norm, chunks=chunks)
    return replace(program, sources=(replace(source, positions=positions),), stacks=(encoder, *program.stacks[1:]))


def _in_order(moment: tuple[Array, ...], order: NDArray[np.int32]) -> tuple[Array, ...]:
    """Sums over the axes of a grid as one table ``[tokens, 1]`` in that order."""
    spread = (part.reshape(over_axis(part.shape, axis, len(moment))) for axis, part in enumerate(moment))
    return (functools.reduce(np.add, spread).reshape(-1, 1)[order],)
