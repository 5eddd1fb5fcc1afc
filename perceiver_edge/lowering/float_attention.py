"""Softmax attention to the context with TensorFlow, whole or in chunks of tokens.

B batch, T tokens, C context channels, N latents, h heads, d channels of a key, e of a value.
"""

from __future__ import annotations

import tensorflow as tf

from perceiver_edge.lowering.context import Context

MASKED = 1e4
"""What a masked token's score is below zero: exp of it is 0, and half precision has it, too. A score itself is set to
zero before, since the last bits of so large a sum would depend on it."""


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
) -> tf.Tensor:
    """What every query attends to; `chunk_keys` has the equations of chunks.

    Args:
        query: ``[B, h, N, d]``.
        context: of T ``tokens``, read where keys or values are None.
        keys, values: ``[B * T, h * d]`` and ``[B * T, h * e]``.
        chunks: how many equal parts the tokens are taken in.
        scale: multiplies the scores.
        mask: boolean ``[B, 1, 1, T]``, True where a token may be attended to.

    Returns:
        ``[B, h, N, e]``.
    """
    is_read = keys is None or values is None
    if chunks == 1:
        rows = context.rows if is_read else None
        scores = masked(scaled(product(query, rows, keys, transpose=True), scale), mask)
        return product(tf.nn.softmax(scores), rows, values, transpose=False)
    size = tokens // chunks
    merged: tuple[tf.Tensor, tf.Tensor, tf.Tensor] | None = None
    for start in range(0, size * chunks, size):
        own_context = context.some_rows(start, size) if is_read else None
        own_keys, own_values = (_part(t, tokens, start, size) for t in (keys, values))
        own_mask = None if mask is None else mask[..., start : start + size]
        scores = masked(scaled(product(query, own_context, own_keys, transpose=True), scale), own_mask)
        largest = tf.reduce_max(scores, axis=-1, keepdims=True)
        if merged is not None:
            largest = tf.maximum(merged[0], largest)
        weights = tf.exp(scores - largest)
        total = tf.reduce_sum(weights, axis=-1, keepdims=True)
        weighted = product(weights, own_context, own_values, transpose=False)
        if merged is not None:
            kept = tf.exp(merged[0] - largest)
            total, weighted = merged[1] * kept + total, merged[2] * kept + weighted
        merged = largest, total, weighted
    assert merged is not None
    return merged[2] / merged[1]


def split_heads(x: tf.Tensor, heads: int, batch: int) -> tf.Tensor:
    """``[B * n, h * d]`` → ``[B, h, n, d]``."""
    x = tf.reshape(x, [batch, x.shape[0] // batch, heads, x.shape[-1] // heads])
    return tf.transpose(x, [0, 2, 1, 3])


def masked(scores: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """Give all masked tokens one score far below any other, so that the softmax of a fully masked row is uniform.

    A product and a sum instead of a select: XNNPACK has no select, and runs these in all threads.
    """
    if mask is None:
        return scores
    kept = tf.cast(mask, scores.dtype)
    return scores * kept + (kept - 1.0) * MASKED


def scaled(scores: tf.Tensor, scale: float) -> tf.Tensor:
    return scores if scale == 1.0 else scores * scale


def product(left: tf.Tensor, context: tf.Tensor | None, projected: tf.Tensor | None, *, transpose: bool) -> tf.Tensor:
    """Multiply ``left`` ``[B, h, N, …]`` with each head's keys or values, or with the context all heads share."""
    batch, heads, _, channels = left.shape
    if projected is not None:
        return tf.matmul(left, split_heads(projected, heads, batch), transpose_b=transpose)
    # All heads read the same context, so their rows stand in one matrix: one product instead of h.
    product = tf.matmul(tf.reshape(left, [batch, -1, channels]), context, transpose_b=transpose)
    return tf.reshape(product, [batch, heads, -1, product.shape[-1]])


def _part(projected: tf.Tensor | None, tokens: int, start: int, size: int) -> tf.Tensor | None:
    """Keys or values ``[B * T, h * d]`` of ``size`` tokens: their rows are those of all samples."""
    if projected is None:
        return None
    batch = projected.shape[0] // tokens
    rows = tf.reshape(projected, [batch, tokens, -1])
    return tf.reshape(tf.slice(rows, [0, start, 0], [batch, size, rows.shape[-1]]), [batch * size, -1])
