"""Normalise the context once.

    every cross-attend of a stack reads x̂ = (x - μ) / σ of the same context x, so x̂ is computed once, tied or not.

Precondition: the affines are folded away (`fold_affine`), because γ and β differ from layer to layer and x̂ does not.
It always pays: tokens x channels of work for each cross-attend after the first, and absorption reads the result.
"""

from __future__ import annotations

from dataclasses import replace

from perceiver_edge.lowering.program import Block, CrossAttention, Extent, Norm, Program, Stack, map_stack, with_stacks
from perceiver_edge.lowering.rule import Decision


def share_context(program: Program) -> tuple[Program, Decision]:
    """Move the context's normalisation from the cross-attends to their stack."""
    norms = [block.context_norm for block in program.cross_attentions() if block.context_norm is not None]
    if not norms:
        return program, Decision("share_context", False, "the context is shared already")
    if any(norm.gamma is not None for norm in norms):
        return program, Decision("share_context", False, "a context norm still has an affine of its own")
    shared = with_stacks(program, _shared)
    contexts = sum(stack.context_norm is not None for stack in shared.stacks)
    reason = f"one normalisation of the context instead of {len(norms)}"
    if contexts > 1:
        reason = f"{contexts} normalisations of {contexts} contexts instead of {len(norms)}"
    return shared, Decision("share_context", True, reason)


def _shared(stack: Stack, _: Extent) -> Stack:
    if all(block.context_norm is None for block in stack.cross_attentions()):  # a context that is not normalised
        return stack
    return replace(map_stack(stack, _read_shared), context_norm=Norm())


def _read_shared(block: Block) -> Block:
    return replace(block, context_norm=None) if isinstance(block, CrossAttention) else block
