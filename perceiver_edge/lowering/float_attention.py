"""Softmax attention to the context with TensorFlow, whole or in chunks of tokens.

B batch, T tokens, C context channels, N latents, h heads, d channels of a key, e of a value.
"""

from __future__ import annotations

import tensorflow as tf


def attend(
    query: tf.Tensor,
    context: tf.Tensor,
    keys: tf.Tensor | None,
    values: tf.Tensor | None,
    *,
    chunks: int,
    scale: float,
    mask: tf.Tensor | None,
) -> tf.Tensor:
    """What every query attends to; `chunk_keys` has the equations of chunks.

    Args:
        query: ``[B, h, N, d]``.
        context: ``[B, T, C]``, read where keys or values are None.
        keys, values: ``[B * T, h * d]`` and ``[B * T, h * e]``.
        chunks: how many equal parts the tokens are taken in.
        scale: multiplies the scores.
        mask: boolean ``[B, 1, 1, T]``, True where a token may be attended to.

    Returns:
        ``[B, h, N, e]``.
    """
    if chunks == 1:
        scores = masked(scaled(product(query, context, keys, transpose=True), scale), mask)
        return product(tf.nn.softmax(scores), context, values, transpose=False)
    size = context.shape[1] // chunks
    merged: tuple[tf.Tensor, tf.Tensor, tf.Tensor] | None = None
    for start in range(0, size * chunks, size):
        own_context, own_keys, own_values = (_part(t, context, start, size) for t in (context, keys, values))
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
    """Give masked tokens the lowest finite score, so that the softmax of a fully masked row is uniform."""
    return scores if mask is None else tf.where(mask, scores, scores.dtype.min)


def scaled(scores: tf.Tensor, scale: float) -> tf.Tensor:
    return scores if scale == 1.0 else scores * scale


def product(left: tf.Tensor, context: tf.Tensor, projected: tf.Tensor | None, *, transpose: bool) -> tf.Tensor:
    """Multiply ``left`` ``[B, h, N, …]`` with each head's keys or values, or with the context all heads share."""
    batch, heads, _, channels = left.shape
    if projected is not None:
        return tf.matmul(left, split_heads(projected, heads, batch), transpose_b=transpose)
    # All heads read the same context, so their rows stand in one matrix: one product instead of h.
    product = tf.matmul(tf.reshape(left, [batch, -1, channels]), context, transpose_b=transpose)
    return tf.reshape(product, [batch, heads, -1, product.shape[-1]])


def _part(tensor: tf.Tensor | None, context: tf.Tensor, start: int, size: int) -> tf.Tensor | None:
    """``size`` tokens of the context, or of keys or values, whose rows are those of all samples."""
    if tensor is None:
        return None
    batch, tokens, _ = context.shape
    rows = tf.reshape(tensor, [batch, tokens, -1])
    rows = tf.slice(rows, [0, start, 0], [batch, size, rows.shape[-1]])
    return rows if len(tensor.shape) == 3 else tf.reshape(rows, [batch * size, -1])
