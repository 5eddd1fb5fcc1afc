"""Inverted attention to the context with TensorFlow: each token divides itself among the rows.

    a = softmax over the rows of (q kᵀ)        a token's shares of all rows of a head sum to 1
    result = (a / max(Σ_t a_t, ε)) v           each row then averages over the tokens that it got

(slot attention, Locatello et al. 2020, arXiv:2006.15055; perceiver-pytorch calls it ``inverted_cross_attn``.) A number
that is added to all scores of a row does not cancel here, so no rule absorbs the keys or values of such a block.
"""

from __future__ import annotations

import tensorflow as tf

from perceiver_edge.lowering.float_attention import scaled, split_heads

LEAST_TOTAL = 1e-8
"""perceiver-pytorch's, for rows that get nothing."""


def attend(query: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, *, scale: float, mask: tf.Tensor | None) -> tf.Tensor:
    """As `float_attention.attend`, in one piece."""
    batch, heads, _, _ = query.shape
    keys, values = (split_heads(projected, heads, batch) for projected in (keys, values))
    shares = tf.nn.softmax(scaled(tf.matmul(query, keys, transpose_b=True), scale), axis=-2)
    if mask is not None:
        shares = shares * tf.cast(mask, shares.dtype)
    total = tf.maximum(tf.reduce_sum(shares, axis=-1, keepdims=True), LEAST_TOTAL)
    return tf.matmul(shares / total, values)
