"""Attention to the context without softmax's maximum, with TensorFlow; `drop_maximum` has the equations and the proof.

B batch, T tokens, C context channels, N rows, h heads, d channels of a key, e of a value.
"""

from __future__ import annotations

import tensorflow as tf

from perceiver_edge.lowering.float_attention import part, product, scaled
from perceiver_edge.lowering.program import CrossAttention, Extent

ROWS_FOR_A_CHANNEL = 64
"""With so many rows, the weights are summed up by a channel of ones among the values: the product pads to more channels
than there are, so that it costs nothing, and a pass over the weights is saved. With few rows that pass is cheaper than
one more channel in the context."""


def wants_a_one(block: CrossAttention, extent: Extent) -> bool:
    """Whether the weights are summed up by a channel of the context."""
    return block.value is None and block.heads * extent.rows >= ROWS_FOR_A_CHANNEL


def attend(
    query: tf.Tensor,
    context: tf.Tensor,
    keys: tf.Tensor | None,
    values: tf.Tensor | None,
    *,
    chunks: int,
    scale: float,
    mask: tf.Tensor | None,
    last_is_one: bool,
) -> tf.Tensor:
    """What every query attends to; arguments and result as `float_attention.attend`.

    ``last_is_one``: the context ``[B, T, C + 1]`` has a last channel of ones, which sums up the weights.
    """
    query = scaled(query, scale)
    weight_of_token = None
    if mask is not None:
        # Softmax over tokens that are all masked is uniform: their scores become 0 and their weights 1.
        any_token = tf.cast(tf.reduce_any(mask, axis=-1, keepdims=True), query.dtype)
        query = query * any_token
        weight_of_token = tf.cast(mask, query.dtype) + (1.0 - any_token)
    if last_is_one and keys is None:
        query = tf.concat([query, tf.zeros([*query.shape[:3], 1], query.dtype)], axis=-1)
    weighted, total = None, None
    size = context.shape[1] // chunks
    for start in range(0, size * chunks, size):
        own_context, own_keys, own_values = (part(t, context, start, size) for t in (context, keys, values))
        weights = tf.exp(product(query, own_context, own_keys, transpose=True))
        if weight_of_token is not None:
            weights = weights * weight_of_token[..., start : start + size]
        own = product(weights, own_context, own_values, transpose=False)
        weighted = own if weighted is None else weighted + own
        if not last_is_one:
            own_total = tf.reduce_sum(weights, axis=-1, keepdims=True)
            total = own_total if total is None else total + own_total
    return weighted[..., :-1] / weighted[..., -1:] if last_is_one else weighted / total
