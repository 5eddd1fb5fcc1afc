"""Say of each cross-attend in which form its float core is computed, and why: for people, in a sentence."""

from __future__ import annotations

import math

from perceiver_edge.lowering.chunk_keys import at_once
from perceiver_edge.lowering.drop_maximum import is_by_token, largest_bound, largest_exponent, largest_score
from perceiver_edge.lowering.program import CrossAttention, Extent, Program, Stack
from perceiver_edge.lowering.rule import Decision


def core_forms(program: Program) -> tuple[Decision, ...]:
    """Of a lowered program; cross-attends of one form are told of together. Applied: softmax is written anew."""
    alike: dict[tuple[bool, str], list[str]] = {}
    sentences: dict[int, str] = {}
    for stack, extent in zip(program.stacks, program.extents(), strict=True):
        for name, block in stack.named_blocks():
            if isinstance(block, CrossAttention):
                if id(block) not in sentences:
                    sentences[id(block)] = _sentence(block, stack, extent, masked=program.is_masked(stack))
                alike.setdefault((not block.has_maximum, sentences[id(block)]), []).append(name)
    return tuple(
        Decision("float_core", is_applied, f"{', '.join(names)}: {sentence}")
        for (is_applied, sentence), names in alike.items()
    )


def _sentence(block: CrossAttention, stack: Stack, extent: Extent, *, masked: bool) -> str:
    if block.is_inverted:
        return "softmax over the rows, not over the tokens"
    bound, holds = largest_score(block, stack, extent), largest_exponent(block, extent)
    if block.has_maximum:
        chunks = f" in {block.chunks} chunks with a running maximum" if block.chunks > 1 else ""
        return f"softmax{chunks}, because {_why_softmax(block, stack, extent, bound, masked=masked)}"
    form = f"exp without softmax's maximum{_way(block, extent)}"
    if block.ceiling is None:
        return f"{form}: by its weights no input can give a score over {bound:.0f}, and exp holds up to {holds:.0f}"
    return (
        f"{form}: its weights allow scores up to {bound:.0f}, and exp holds up to {holds:.0f}, "
        "so that each row's scores are lowered by what its own query allows above that"
    )


def _why_softmax(block: CrossAttention, stack: Stack, extent: Extent, bound: float, *, masked: bool) -> str:
    if math.isinf(bound):
        return "its tokens are not normalised for all layers alike, so that nothing bounds its scores"
    most = largest_bound(block, extent, masked=masked)
    if bound >= most:
        return f"its weights allow scores up to {bound:.0f}, and exp would do without a maximum up to {most:.0f}"
    count = block.heads * at_once(stack, extent).rows * extent.tokens
    return f"its {count:,} scores are few: another form would gain nothing"


def _way(block: CrossAttention, extent: Extent) -> str:
    way = ", line by line" if block.is_by_line else ", token by token" if is_by_token(block, extent) else ""
    return way if block.chunks == 1 else f"{way}, in {block.chunks} chunks"
