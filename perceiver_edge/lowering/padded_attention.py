"""Attention to several sources, each without its padding, with TensorFlow; `separate_padding` has the equations.

B batch, T tokens, C context channels, N rows, h heads.
"""

from __future__ import annotations

import tensorflow as tf

from perceiver_edge.lowering.context import Narrow
from perceiver_edge.lowering.exponential_attention import scaled_and_masked, total_of, with_one


def attend(
    query: tf.Tensor,
    sources: list[Narrow],
    *,
    most_tokens: int,
    scale: float,
    mask: tf.Tensor | None,
    ceiling: float | None,
) -> tf.Tensor:
    """What every query attends to; the result is that of `float_attention.attend` on the whole context.

    Args:
        query: ``[B, h, N, C]``.
        sources: of the tokens, one after the other.
        most_tokens: of a chunk.
        mask: boolean ``[B, 1, 1, T]``.
        ceiling: see `CrossAttention`.
    """
    batch, heads, count, channels = query.shape
    query, weight_of_token = scaled_and_masked(query, scale, mask)
    if weight_of_token is not None:
        weight_of_token = tf.reshape(weight_of_token, [batch, 1, -1])
    query = tf.reshape(with_one(query, ceiling), [batch, heads * count, channels + 1])
    total: tf.Tensor = None
    first = 0
    for source in sources:
        _, own_channels, tokens = source.columns.shape
        own_query, weighted = source.narrow(query), None
        for start in range(0, tokens, most_tokens):
            size = min(most_tokens, tokens - start)
            columns = tf.slice(source.columns, [0, 0, start], [batch, own_channels, size])
            weights = tf.exp(tf.matmul(own_query, columns))
            if weight_of_token is not None:
                weights = weights * weight_of_token[..., first + start : first + start + size]
            own = tf.matmul(weights, columns, transpose_b=True)
            weighted = own if weighted is None else weighted + own
        widened = source.widen(weighted)
        total = widened if total is None else total + widened
        first += tokens
    return tf.reshape(total[..., :-1] / total_of(total[..., -1:], ceiling), [batch, heads, count, channels])
