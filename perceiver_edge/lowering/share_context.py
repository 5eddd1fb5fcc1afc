"""Normalise the context once.

    every cross-attend reads x̂ = (x - μ) / σ of the same context x, so x̂ is computed once, tied layers or not.

Precondition: the affines are folded away (`fold_affine`), because γ and β differ from layer to layer and x̂ does not.
It always pays: tokens x channels of work for each cross-attend after the first.
"""

from __future__ import annotations

from dataclasses import replace

from perceiver_edge.lowering.program import Block, CrossAttention, Norm, Program, map_blocks
from perceiver_edge.lowering.rule import Decision


def share_context(program: Program) -> tuple[Program, Decision]:
    """Move the context's normalisation from the cross-attends to the program."""
    norms = [block.context_norm for block in program.cross_attentions()]
    if program.context_norm is not None:
        return program, Decision("share_context", False, "the context is shared already")
    if any(norm is None or norm.gamma is not None for norm in norms):
        return program, Decision("share_context", False, "a context norm still has an affine of its own")
    shared = replace(map_blocks(program, _read_shared), context_norm=Norm())
    return shared, Decision("share_context", True, f"one normalisation of the context instead of {len(norms)}")


def _read_shared(block: Block) -> Block:
    return replace(block, context_norm=None) if isinstance(block, CrossAttention) else block
