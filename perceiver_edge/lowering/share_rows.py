"""Ask with the tokens that were normalised already for those who attend to them.

    LN(x) W_q, and rows that ask are the tokens x: x̂ = (x − μ) / σ is the encoder's context

A decoder that asks for every pixel of an image (optical flow) has the tokens for queries. Where it keeps nothing of
them but their normalised form, one context serves both stacks, and all rules for it serve both: its centring goes into
W_q, its positions are kept axis by axis.

Preconditions: the context is shared (`share_context`), and the first block neither adds its result to the rows nor has
an affine of its own (`fold_affine`).
"""

from __future__ import annotations

from dataclasses import replace

from perceiver_edge.lowering.program import CrossAttention, Extent, Layer, Linear, Norm, Program, Stack, with_stacks
from perceiver_edge.lowering.rule import Decision


def share_rows(program: Program) -> tuple[Program, Decision]:
    """Let stacks whose rows are the tokens begin with the encoder's context."""
    asking = [stack for stack in program.stacks if stack.rows is None and not stack.first_asks_with_context]
    if not asking:
        return program, Decision("share_rows", False, "no rows are made of the tokens")
    if not isinstance(program.encoder.context_norm, Norm):
        return program, Decision("share_rows", False, "the context is not a normalisation that is shared")
    shared = [stack for stack in asking if _reads_normalised(stack)]
    if not shared:
        return program, Decision("share_rows", False, "the rows are read as they are, too")

    def rewrite(stack: Stack, _: Extent) -> Stack:
        return _without_norm(stack) if stack in shared else stack

    reason = f"{program.tokens:,} tokens ask as they are asked: normalised once"
    return with_stacks(program, rewrite), Decision("share_rows", True, reason)


def _reads_normalised(stack: Stack) -> bool:
    first, *others = stack.layers
    (_, block), *_ = first.blocks
    return (
        isinstance(block, CrossAttention)
        and first not in others
        and not first.pools
        and not block.is_residual
        and block.norm is not None
        and block.norm.gamma is None
        and isinstance(block.query, Linear)
    )


def _without_norm(stack: Stack) -> Stack:
    first, *others = stack.layers
    (name, block), *rest = first.blocks
    assert isinstance(block, CrossAttention)
    return replace(stack, layers=(Layer(((name, replace(block, norm=None)), *rest)), *others))
