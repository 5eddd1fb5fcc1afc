"""Leave the context's mean to the weights, and the rest of its normalisation to the data's own channels.

    x̂ = (x − μ) / σ = (x / σ) P      P = I − 11ᵀ / C, the projection that takes out the mean over channels
    x̂ W = (x / σ) (P W)              P W: every column of W without its mean

What is left to compute for tokens × channels is one product with 1 / σ. And that comes from few channels, because those
of the positions are constants: with the d channels of the data, and p of the positions with mean m and variance s²,

    C = d + p      C μ = Σ data + p m      C σ² = Σ (data − μ)² + p s² + p (m − μ)²

(variances of two groups merged: Chan, Golub and LeVeque 1983). All terms are positive: nothing cancels.

Precondition: the context is shared (`share_context`), nothing is absorbed into other weights yet, and tokens have
positions. It always saves operations; int8 then rounds a context that keeps its mean, which positions keep small.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perceiver_edge.lowering.program import (
    ContextScale,
    Linear,
    Moments,
    Program,
    map_context_products,
)
from perceiver_edge.lowering.rule import Decision
from perceiver_edge.lowering.source import Learned, Source


def fold_centring(program: Program) -> tuple[Program, Decision]:
    """Divide the context by its σ alone; keys and values take out its mean."""

    def no(reason: str) -> tuple[Program, Decision]:
        return program, Decision("fold_centring", False, reason)

    stack = program.encoder
    if isinstance(stack.context_norm, ContextScale):
        return no("the context is not centred any more")
    if stack.context_norm is None:
        return no("the context is not shared yet")
    moments = [_moments(source) for source in program.sources]
    inputs = program.inputs
    if sum(of_source is not None for of_source in moments) < len(inputs):
        return no("tokens have no positions: their statistics need all channels")
    if any(block.key is None or block.value is None for block in stack.cross_attentions()):
        return no("keys or values are absorbed already")

    def centred(linear: Linear) -> Linear:
        return Linear(linear.weight - linear.weight.mean(axis=0, keepdims=True), linear.bias)

    folded = map_context_products(program, centred)
    encoder = replace(folded.encoder, context_norm=ContextScale(tuple(moments)))
    folded = replace(folded, stacks=(encoder, *folded.stacks[1:]))
    of_data = ", ".join(str(source.data_channels) for source in inputs)
    reason = f"the statistics of a token come from {of_data} of its {program.context_channels} channels"
    return folded, Decision("fold_centring", True, reason)


def _moments(source: Source | Learned) -> Moments | None:
    """Of the positions of an input's tokens; None for tokens without."""
    if isinstance(source, Learned) or not isinstance(source.positions, np.ndarray) or source.adds_positions:
        return None
    table = source.positions
    return Moments((table.mean(axis=1, keepdims=True),), ((table**2).mean(axis=1, keepdims=True),))
