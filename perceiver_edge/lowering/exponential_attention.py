"""Attention to the context without softmax's maximum, with TensorFlow; `drop_maximum` has the equations and the proof.

B batch, T tokens, C context channels, N rows, h heads, d channels of a key, e of a value.
"""

from __future__ import annotations

import math

import tensorflow as tf

from perceiver_edge.lowering.context import Context, zeros_like
from perceiver_edge.lowering.float_attention import scaled, split_heads
from perceiver_edge.lowering.program import CrossAttention

LEAST_TOTAL = 1e-37
"""What a row's weights are divided by at least, where its scores are lowered: a normal float32."""


def attend_by_token(
    query: tf.Tensor, context: Context, *, chunks: int, scale: float, mask: tf.Tensor | None, ceiling: float | None
) -> tf.Tensor:
    """What few queries attend to, with a row of weights for each token; the result is that of `attend`."""
    columns = context.columns(with_one=True)
    rows = context.rows_with_one
    batch, heads, count, channels = query.shape
    query, weight_of_token = scaled_and_masked(query, scale, mask)
    if weight_of_token is not None:
        weight_of_token = tf.reshape(weight_of_token, [batch, -1, 1])
    query = tf.reshape(with_one(query, ceiling), [batch, heads * count, channels + 1])
    # A constant on the right would be weights, for converters and quantisers: so it is not one, though zero is added.
    right = tf.transpose(query, [0, 2, 1]) + zeros_like(rows[:, :1, -1:])
    weighted: tf.Tensor = None
    size = rows.shape[1] // chunks
    for start in range(0, size * chunks, size):
        weights = tf.exp(tf.matmul(tf.slice(rows, [0, start, 0], [batch, size, channels + 1]), right))
        if weight_of_token is not None:
            weights = weights * weight_of_token[:, start : start + size]
        own = tf.matmul(tf.slice(columns, [0, 0, start], [batch, channels + 1, size]), weights)
        weighted = own if weighted is None else weighted + own
    weighted = tf.reshape(tf.transpose(weighted, [0, 2, 1]), [batch, heads, count, channels + 1])
    return weighted[..., :-1] / total_of(weighted[..., -1:], ceiling)


def wants_a_one(block: CrossAttention) -> bool:
    """Whether the weights are summed up by a channel of ones among the values: the product pads to more channels than
    there are, so that it costs nothing, and a pass over the weights is saved."""
    return block.value is None


def attend(
    query: tf.Tensor,
    context: Context,
    keys: tf.Tensor | None,
    values: tf.Tensor | None,
    *,
    tokens: int,
    chunks: int,
    scale: float,
    mask: tf.Tensor | None,
    last_is_one: bool,
    ceiling: float | None,
) -> tf.Tensor:
    """What every query attends to; arguments and the result are those of `float_attention.attend`, and:

    Args:
        last_is_one: the context is read with a last channel of ones, which sums up the weights.
        ceiling: see `CrossAttention`; needs that channel in keys and values.
    """
    query, weight_of_token = scaled_and_masked(query, scale, mask)
    assert ceiling is None or (last_is_one and keys is None), "see `drop_maximum`"
    if last_is_one and keys is None:
        query = with_one(query, ceiling)
    weighted: tf.Tensor = None
    total: tf.Tensor = None
    size = tokens // chunks
    for start in range(0, tokens, size):
        is_read = keys is None or values is None
        columns = context.some_columns(start, size, with_one=last_is_one) if is_read else None
        weights = tf.exp(_product(query, columns, keys, start, size, transpose=True))
        if weight_of_token is not None:
            weights = weights * weight_of_token[..., start : start + size]
        own = _product(weights, columns, values, start, size, transpose=False)
        weighted = own if weighted is None else weighted + own
        if not last_is_one:
            own_total = tf.reduce_sum(weights, axis=-1, keepdims=True)
            total = own_total if total is None else total + own_total
    return weighted[..., :-1] / total_of(weighted[..., -1:], ceiling) if last_is_one else weighted / total


def with_one(query: tf.Tensor, ceiling: float | None) -> tf.Tensor:
    """Queries ``[..., C]`` with one more channel for tokens with a last channel of ones: what their scores are lowered
    by, so that none exceeds ``ceiling``, or 0. With a ceiling, queries have no mean over their channels."""
    if ceiling is None:
        return tf.concat([query, tf.zeros([*query.shape[:-1], 1], query.dtype)], axis=-1)
    longest_token = math.sqrt(query.shape[-1])
    largest_score = tf.sqrt(tf.reduce_sum(query * query, axis=-1, keepdims=True)) * longest_token
    return tf.concat([query, tf.minimum(ceiling - largest_score, 0.0)], axis=-1)


def total_of(weights: tf.Tensor, ceiling: float | None) -> tf.Tensor:
    """Sums of weights, to be divided by: not 0 where all scores of a row are far under what they could be."""
    return weights if ceiling is None else tf.maximum(weights, LEAST_TOTAL)


def scaled_and_masked(query: tf.Tensor, scale: float, mask: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor | None]:
    """What scores are made of, and what exp of them is multiplied with, if there is a ``mask`` ``[B, 1, 1, T]``.

    Softmax over tokens that are all masked is uniform: their scores become 0 and their weights 1.
    """
    query = scaled(query, scale)
    if mask is None:
        return query, None
    any_token = tf.cast(tf.reduce_any(mask, axis=-1, keepdims=True), query.dtype)
    return query * any_token, tf.cast(mask, query.dtype) + (1.0 - any_token)


def _product(
    left: tf.Tensor,
    columns: tf.Tensor | None,
    projected: tf.Tensor | None,
    start: int,
    size: int,
    *,
    transpose: bool,
) -> tf.Tensor:
    """Multiply ``left`` ``[B, h, N, …]`` with ``size`` tokens: ``columns`` ``[B, C, size]``, or those of ``projected``.

    ``transpose``: with their channels.
    """
    batch, heads, rows, channels = left.shape
    if projected is not None:
        split = split_heads(projected, heads, batch)
        return tf.matmul(left, split[:, :, start : start + size], transpose_b=transpose)
    # All heads read the same context, so their rows stand in one matrix: one product instead of h.
    assert columns is not None
    product = tf.matmul(tf.reshape(left, [batch, heads * rows, channels]), columns, transpose_b=not transpose)
    return tf.reshape(product, [batch, heads, rows, product.shape[-1]])
