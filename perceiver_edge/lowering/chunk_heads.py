"""Let the heads of a self-attend compute one part after the other, so that the scores of all never exist at once.

    softmax(q_h k_hᵀ) v_h needs no other head

Exact, and it costs no time: a part is a product of its own in the engine anyway. The optical flow's 2,048 latents have
268 MB of scores in 16 heads, and engines keep them twice, before and after softmax.
"""

from __future__ import annotations

from dataclasses import replace

from perceiver_edge.lowering.chunk_keys import fewest_parts
from perceiver_edge.lowering.program import Block, Extent, Program, SelfAttention, Stack, map_stack, with_stacks
from perceiver_edge.lowering.rule import Decision

MOST_BYTES = 32 << 20
"""Of float32 scores at a time."""


def chunk_heads(program: Program) -> tuple[Program, Decision]:
    """Divide the heads of every self-attend whose scores are larger."""
    changed: list[SelfAttention] = []

    def rewritten(stack: Stack, extent: Extent) -> Stack:
        def rewrite(block: Block) -> Block:
            if not isinstance(block, SelfAttention) or (parts := _parts(block, extent)) == block.parts:
                return block
            changed.append(block)
            return replace(block, parts=parts)

        return map_stack(stack, rewrite)

    chunked = with_stacks(program, rewritten)
    if not changed:
        return program, Decision("chunk_heads", False, f"no self-attend has over {MOST_BYTES:,} bytes to divide")
    return chunked, Decision("chunk_heads", True, f"the heads of {len(changed)} self-attends in parts")


def _parts(block: SelfAttention, extent: Extent) -> int:
    scores_bytes = 4 * block.heads * extent.rows**2
    return fewest_parts(block.heads, fits=lambda parts: scores_bytes // parts <= MOST_BYTES, most=block.heads)
