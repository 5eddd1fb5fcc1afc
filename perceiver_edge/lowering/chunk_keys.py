"""Attend to the tokens chunk by chunk, so that the scores of all tokens never exist at once.

    m' = max(m, max_t s_t)        over the tokens t of the next chunk, starting from m = -inf, l = 0, a = 0
    l' = l · exp(m − m') + Σ_t exp(s_t − m')
    a' = a · exp(m − m') + Σ_t exp(s_t − m') v_t
    softmax(s) v = a / l          after the last chunk

(Milakov and Gimelshein 2018, arXiv:1805.02867; Rabe and Staats 2021, arXiv:2112.05682.) Exact for any chunks. It costs
time, a few passes over the scores more than a softmax, and saves memory: N·T numbers a head become N·T / chunks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.lowering.program import Block, CrossAttention, Extent, Program, Stack, map_blocks
from perceiver_edge.lowering.rule import Decision

MOST_CHUNKS = 64
"""Each chunk is some ten operators a cross-attend."""

CHUNK_BYTES = 8 << 20
"""Of float32 scores at a time: little beside the weights of a model that has so many tokens."""


def chunk_keys(program: Program) -> tuple[Program, Decision]:
    """Let every cross-attend whose scores are large take its tokens in chunks."""
    chunks = {
        id(block): fitting_chunks(at_once(stack, extent), block, bytes_per_score=4, limit_bytes=CHUNK_BYTES)
        for stack, extent in zip(program.stacks, program.extents(), strict=True)
        for block in stack.cross_attentions()
        if block.has_maximum and not block.is_inverted  # those without are in chunks already
    }
    blocks = [block for block in program.cross_attentions() if id(block) in chunks]
    if all(chunks[id(block)] == block.chunks for block in blocks):
        return program, Decision("chunk_keys", False, f"no scores of over {CHUNK_BYTES:,} bytes that can be divided")

    def rewrite(block: Block) -> Block:
        if isinstance(block, CrossAttention) and id(block) in chunks:
            return replace(block, chunks=chunks[id(block)])
        return block

    most = max(chunks.values())
    return map_blocks(program, rewrite), Decision("chunk_keys", True, f"the tokens in up to {most} chunks")


def token_order(tokens: int, chunks: int) -> NDArray[np.int32]:
    """In which order to take the tokens so that each of equal chunks is a sample of the whole: ``[tokens]``.

    The next token is always about T / φ further, φ = (1 + √5) / 2, modulo T: any run of such a sequence is spread
    evenly (Kronecker's sequence of the golden ratio). Every n-th token is not: of a position's high frequency it sees
    one phase alone.
    """
    if chunks == 1:
        return np.arange(tokens, dtype=np.int32)
    golden = round(tokens * (math.sqrt(5) - 1) / 2)
    step = next(step for step in range(golden, 2 * tokens) if math.gcd(step, tokens) == 1)
    return (np.arange(tokens, dtype=np.int64) * step % tokens).astype(np.int32)


def fitting_chunks(extent: Extent, block: CrossAttention, *, bytes_per_score: int, limit_bytes: int) -> int:
    """The fewest `equal_parts` of the tokens whose scores, for all rows of queries, fit the limit."""
    all_bytes = bytes_per_score * block.heads * extent.rows * extent.tokens
    return equal_parts(extent.tokens, lines=extent.lines, fits=lambda parts: all_bytes // parts <= limit_bytes)


def equal_parts(count: int, *, lines: int, fits: Callable[[int], bool]) -> int:
    """In how few equal parts ``count`` tokens or rows fit, or the most there are; see `MOST_CHUNKS`.

    Parts of whole ``lines``, unless these are four times as large as others, or more: 257 lines cannot be divided.
    """
    of_lines, of_any = (fewest_parts(whole, fits=fits, most=MOST_CHUNKS) for whole in (lines, count))
    return of_lines if lines > 1 and 4 * of_lines > of_any else of_any


def fewest_parts(whole: int, *, fits: Callable[[int], bool], most: int) -> int:
    """The least divisor of ``whole`` that fits, or the largest up to ``most``."""
    divisors = [n for n in range(1, most + 1) if whole % n == 0]
    return next(filter(fits, divisors), divisors[-1])


def at_once(stack: Stack, extent: Extent) -> Extent:
    """Of the rows that are computed at once (`chunk_rows`)."""
    return replace(extent, rows=extent.rows // stack.row_chunks)
