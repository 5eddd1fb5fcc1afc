"""Fold a normalisation's affine, and the score scale, into the projections that follow.

    LN(x) @ W + b = ((x̂ * γ + β) @ W) + b = x̂ @ (γ ∘ W) + (β @ W + b)         x̂ = (x - μ) / σ
    scale * (q @ kᵀ) = (scale * q) @ kᵀ

Exact, and free at run time: two element-wise operators less per normalisation, one less per attention. It always pays.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perceiver_edge.lowering.program import (
    AttentionResidual,
    Block,
    CrossAttention,
    FeedForward,
    Linear,
    Norm,
    Program,
    SelfAttention,
    bias_after,
    map_blocks,
    scaled,
)
from perceiver_edge.lowering.rule import Decision


def fold_affine(program: Program) -> tuple[Program, Decision]:
    """Leave every `Norm` without γ and β and every score scale at 1."""
    blocks = [block for stack in program.stacks for layer in stack.layers for _, block in layer.blocks]
    affines = sum(norm.gamma is not None for norm in _norms(program, blocks))
    scales = sum(block.scale != 1.0 for block in blocks if isinstance(block, CrossAttention | SelfAttention))
    if affines == scales == 0:
        return program, Decision("fold_affine", False, "no affine and no score scale is left to fold")
    folded = map_blocks(program, _fold_block)
    output = program.output
    if output.norm is not None and output.projection is not None:
        folded = replace(folded, output=replace(output, norm=Norm(), projection=fold(output.norm, output.projection)))
    reason = f"removes {affines} affines of normalisations and {scales} scalings of scores"
    return folded, Decision("fold_affine", True, reason)


def fold(norm: Norm, linear: Linear) -> Linear:
    """``linear(norm's affine(x))`` as one Linear on x."""
    if norm.gamma is None or norm.beta is None:
        return linear
    bias = bias_after(norm.beta, linear)
    return Linear(norm.gamma[:, None] * linear.weight, bias if bias.any() else None)


def _norms(program: Program, blocks: list[Block]) -> list[Norm]:
    contexts = [b.context_norm for b in blocks if isinstance(b, CrossAttention) and b.context_norm is not None]
    output = [] if program.output.norm is None else [program.output.norm]
    rows = [b.norm for b in blocks if not isinstance(b, AttentionResidual) and b.norm is not None]
    return rows + contexts + output


def _fold_block(block: Block) -> Block:
    match block:
        case CrossAttention(query=query, key=key, value=value):
            norm, context_norm = block.norm or Norm(), block.context_norm or Norm()  # a shared context has no affine
            if isinstance(query, Linear):
                query = scaled(fold(norm, query), block.scale)
            elif query is not None:
                query = query * block.scale
            return replace(
                block, norm=block.norm and Norm(), context_norm=block.context_norm and Norm(), scale=1.0, query=query,
                key=key and fold(context_norm, key), value=value and fold(context_norm, value),
            )  # fmt: skip
        case SelfAttention(projections=(query, *others)):
            factor = np.ones(query.weight.shape[1])
            factor[: block.widths[0]] = block.scale  # a fused projection has the queries first
            projections = (scaled(fold(block.norm, query), factor), *(fold(block.norm, p) for p in others))
            return replace(block, norm=Norm(), scale=1.0, projections=projections)
        case FeedForward():
            return replace(block, norm=Norm(), up=fold(block.norm, block.up))
    return block
