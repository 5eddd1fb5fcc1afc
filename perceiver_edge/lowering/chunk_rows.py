"""Let many rows ask in chunks, so that the scores of all never exist at once.

    softmax(q_i K) V depends on no other row j ≠ i, and neither do a feed-forward block and the output's projection

Exact, and nothing is computed twice: what is made of the context is shared by all chunks. A decoder with a query for
every pixel of an image needs it: the optical flow's 182,528 queries on 2,048 latents are 1.5 GB of scores. Fewer are
faster in one piece. Rows that are the encoder's context are taken in whole lines of its grid where that can be: so it
is made chunk by chunk, too (`context`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perceiver_edge.lowering.chunk_keys import equal_parts
from perceiver_edge.lowering.program import CrossAttention, Extent, Program, SelfAttention, Stack, with_stacks
from perceiver_edge.lowering.rule import Decision

MOST_BYTES = 256 << 20
"""Of float32 scores of a stack in one piece."""

CHUNK_BYTES = 32 << 20
"""Of a chunk's: few chunks, because each is all of the stack's operators once more, and engines keep a packed copy of
the weights for each."""


def chunk_rows(program: Program) -> tuple[Program, Decision]:
    """Run every stack in chunks of rows whose scores are too large, and whose rows ask for themselves."""
    chunked = with_stacks(program, lambda stack, extent: _chunked(stack, extent, lines=program.lines))
    chunks = [stack.row_chunks for stack in chunked.stacks]
    if chunks == [stack.row_chunks for stack in program.stacks]:
        return program, Decision("chunk_rows", False, f"no stack has scores of over {MOST_BYTES:,} bytes to divide")
    return chunked, Decision("chunk_rows", True, f"the rows that ask, in up to {max(chunks)} chunks")


def _chunked(stack: Stack, extent: Extent, *, lines: int) -> Stack:
    blocks = [block for _, block in stack.named_blocks()]
    know_each_other = any(isinstance(b, SelfAttention) or getattr(b, "is_inverted", False) for b in blocks)
    if isinstance(stack.rows, np.ndarray) or know_each_other:
        return stack
    heads = max((block.heads for block in blocks if isinstance(block, CrossAttention)), default=0)
    scores_bytes = 4 * heads * extent.rows * extent.tokens
    if scores_bytes <= MOST_BYTES:
        return stack
    lines = lines if stack.first_asks_with_context else 1
    chunks = equal_parts(extent.rows, lines=lines, fits=lambda parts: scores_bytes // parts <= CHUNK_BYTES)
    return replace(stack, row_chunks=chunks)
