"""Fold a normalisation's affine, and the score scale, into the projections that follow.

    LN(x) @ W + b = ((x̂ * γ + β) @ W) + b = x̂ @ (γ ∘ W) + (β @ W + b)         x̂ = (x - μ) / σ
    scale * (q @ kᵀ) = (scale * q) @ kᵀ

Exact, and free at run time: two element-wise operators less per normalisation. It always pays.
"""

from __future__ import annotations

from dataclasses import replace

from perceiver_edge.lowering.program import (
    Block,
    CrossAttention,
    FeedForward,
    Head,
    Linear,
    Norm,
    Program,
    SelfAttention,
    map_blocks,
    scaled,
)
from perceiver_edge.lowering.rule import Decision


def fold_affine(program: Program) -> tuple[Program, Decision]:
    """Leave every `Norm` without γ and β and every score scale at 1."""
    folded = map_blocks(program, _fold_block)
    if program.head is not None:
        head = program.head
        folded = replace(folded, head=Head(Norm(), fold(head.norm, head.classifier)))
    return folded, Decision("fold_affine", True, "saves two element-wise operators per normalisation")


def fold(norm: Norm, linear: Linear) -> Linear:
    """``linear(norm's affine(x))`` as one Linear on x."""
    if norm.gamma is None or norm.beta is None:
        return linear
    bias = norm.beta @ linear.weight + (0.0 if linear.bias is None else linear.bias)
    return Linear(norm.gamma[:, None] * linear.weight, bias if bias.any() else None)


def _fold_block(block: Block) -> Block:
    match block:
        case CrossAttention(query=Linear() as query, key=Linear() as key, value=Linear() as value):
            context_norm = block.context_norm or Norm()
            return replace(
                block, norm=Norm(), context_norm=block.context_norm and Norm(), scale=1.0,
                query=scaled(fold(block.norm, query), block.scale),
                key=fold(context_norm, key), value=fold(context_norm, value),
            )  # fmt: skip
        case SelfAttention(projections=(query, *others)):
            projections = (scaled(fold(block.norm, query), block.scale), *(fold(block.norm, p) for p in others))
            return replace(block, norm=Norm(), scale=1.0, projections=projections)
        case FeedForward():
            return replace(block, norm=Norm(), up=fold(block.norm, block.up))
    return block
