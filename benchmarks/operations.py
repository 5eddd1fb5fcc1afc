"""How many operations one inference of a lowered Perceiver takes, counted from its configuration alone.

With T tokens of C channels, N latents of D channels; h cross-attention heads of d, g self-attention heads of e
channels; K classes; in multiply-accumulates:

=================  ==============================================  =================================================
weights            first query: 0, it is a constant                later queries: N·D·h·k
                   keys, if not absorbed: T·C·h·d per projection   values, if not absorbed: the same
                   output of a cross-attend: N·h·v·D               output of a self-attend: N·g·e·D
                   query, key and value of a self-attend: 3·N·D·g·e
                   feed-forward: N·D·8D up, N·4D·D down            classifier: D·K
core               scores of a cross-attend: N·T·h·k               aggregation: N·T·h·v
                   scores and aggregation of a self-attend: N·N·g·e each
exponentials       a cross-attend: N·T·h                           a self-attend: N·N·g
=================  ==============================================  =================================================

k is C where the keys are absorbed and d where they are not; v the same for the values. Layers that share their weights
share the projections of the tokens. What lowering decides, it decides by `lowering.absorb.absorption_cost`; so do we.
Normalisations, GELU and additions are not counted: they are what a floor leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perceiver_edge.config import FEED_FORWARD_MULTIPLIER, PerceiverConfig
from perceiver_edge.lowering.absorb import absorption_cost
from perceiver_edge.lowering.program import Extent


@dataclass(frozen=True)
class Operations:
    """Of one inference with one sample. ``core_macs``: products of two activations, in both kinds of attention."""

    weight_macs: int
    core_macs: int
    exponentials: int


def count(config: PerceiverConfig, input_shape: tuple[int, ...]) -> Operations:
    """Apply the formulas above; ``input_shape`` are the sizes of the input axes."""
    c = config
    T, C, N, D, h, d = _sizes(c, input_shape)
    feed_forward = N * D * 3 * FEED_FORWARD_MULTIPLIER * D
    weights = D * c.num_classes if c.final_classifier_head else 0
    core = exponentials = 0
    for index in range(c.depth):
        shared = c.weight_tie_layers and index > 0
        absorbs = _absorbs(c, input_shape, uses=c.depth - 1 if shared else 1)
        width = h * (C if absorbs else d)
        weights += N * D * width * (index > 0) + N * width * D + feed_forward
        if not absorbs and not (shared and index > 1):
            weights += 2 * T * C * h * d
        core += 2 * N * T * width
        exponentials += N * T * h
    self_width, self_attends = c.latent_heads * c.latent_dim_head, c.depth * c.self_per_cross_attn
    weights += self_attends * (4 * N * D * self_width + feed_forward)
    core += self_attends * 2 * N * N * self_width
    exponentials += self_attends * N * N * c.latent_heads
    return Operations(weights, core, exponentials)


def _sizes(c: PerceiverConfig, input_shape: tuple[int, ...]) -> tuple[int, int, int, int, int, int]:
    T = int(np.prod(input_shape))
    return T, c.context_channels, c.num_latents, c.latent_dim, c.cross_heads, c.cross_dim_head


def _absorbs(c: PerceiverConfig, input_shape: tuple[int, ...], *, uses: int) -> bool:
    """Keys and values cost the same, so both are absorbed or neither."""
    T, C, N, D, h, d = _sizes(c, input_shape)
    extent = Extent(rows=N, width=D, tokens=T, channels=C)
    cost = absorption_cost(extent, heads=h, head_channels=d, uses=uses)
    return cost.after_macs < cost.before_macs
