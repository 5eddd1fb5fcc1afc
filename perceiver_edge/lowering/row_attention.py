"""Attention among rows in the form of `row_core`, and what int8 would lose by it, with TensorFlow.

B batch, h heads, N rows, d channels of a key, e of a value. Both products and the exponential stand in a name scope
`ROW_SCOPE`, by which converters find them (`converters.core_params`).
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from perceiver_edge.lowering.integer_core import STEPS
from perceiver_edge.lowering.row_core import LEAST_SCORE, SCORE_ROOM, SUM_ROOM

ROW_SCOPE = "row_core"


@dataclass(frozen=True)
class RowOperands:
    """``query``, ``key`` ``[B, h, N, d]``, ``value`` ``[B, h, N, e]``, and what is attended to ``[B, h, N, e]``."""

    query: tf.Tensor
    key: tf.Tensor
    value: tf.Tensor
    attended: tf.Tensor


def attend(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """``[B, h, N, e]``."""
    with tf.name_scope(ROW_SCOPE):
        scores = tf.matmul(query, key, transpose_b=True)
        weights = tf.exp(scores - tf.reduce_max(scores, axis=-1, keepdims=True))
        return tf.matmul(weights, value) / tf.reduce_sum(weights, axis=-1, keepdims=True)


def extents(operands: RowOperands, means: tf.Tensor) -> dict[str, tf.Tensor]:
    """What int8 needs to know of one sample, and what it would lose.

    Left out of the loss: int8 in queries and keys as they come from their product, which every int8 model has.

    Args:
        means: what keys and values are centred by ``[h * d + h * e]``.

    Returns:
        [min, max] of ``queries``, ``keys`` and ``values`` (centred), ``scores`` (as far as they count),
        ``weighted`` (sums) and ``attended`` (centred); ``error``: the squared L2 error of what is attended to, and its
        squared norm.
    """
    _, heads, _, channels = operands.value.shape
    of_keys, of_values = tf.split(means, [means.shape[0] - heads * channels, heads * channels])
    mean = tf.reshape(of_values, [1, heads, 1, channels])
    key, value = operands.key - tf.reshape(of_keys, [1, heads, 1, -1]), operands.value - mean
    scores = tf.matmul(operands.query, key, transpose_b=True)
    largest = tf.reduce_max(scores, axis=-1, keepdims=True)
    weights = tf.exp(scores - largest)
    weighted = tf.matmul(weights, value)
    low, high = tf.reduce_min(largest) - LEAST_SCORE - SCORE_ROOM, tf.reduce_max(largest) + SCORE_ROOM
    step = tf.maximum((high - low) / STEPS, 1e-30)
    coarse = low + tf.round((tf.maximum(scores, low) - low) / step) * step
    coarse_weights = tf.exp(coarse - tf.reduce_max(coarse, axis=-1, keepdims=True))
    sums = tf.matmul(tf.round(coarse_weights * STEPS) / STEPS, _rounded(value))
    found = _rounded(sums, room=SUM_ROOM) / tf.reduce_sum(coarse_weights, axis=-1, keepdims=True)
    error = tf.reduce_sum((found + mean - operands.attended) ** 2)
    return {
        "queries": _range(operands.query),
        "keys": _range(key),
        "values": _range(value),
        "scores": tf.stack([low, high]),
        "weighted": _range(weighted),
        "attended": _range(operands.attended - mean),
        "error": tf.stack([error, tf.reduce_sum(operands.attended**2)]),
    }


def means(operands: RowOperands) -> tf.Tensor:
    """Of keys and values over the rows, ``[h * d + h * e]``."""
    return tf.concat([tf.reshape(tf.reduce_mean(t, axis=[0, 2]), [-1]) for t in (operands.key, operands.value)], axis=0)


def _rounded(x: tf.Tensor, *, room: float = 0.0) -> tf.Tensor:
    """To steps of which 127 are the largest magnitude, and ``room`` times its width more."""
    step = tf.maximum(tf.reduce_max(tf.abs(x)) * (1 + 2 * room) / (STEPS // 2), 1e-30)
    return tf.round(x / step) * step


def _range(x: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.reduce_min(x), tf.reduce_max(x)])
