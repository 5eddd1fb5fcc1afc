"""Attention among rows in the form of `row_core`, and the ranges that int8 needs of it, with TensorFlow.

B batch, h heads, N rows, d channels of a key, e of a value. Both products and the exponential stand in a name scope
`ROW_SCOPE`, by which converters find them (`converters.core_params`).
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from perceiver_edge.lowering.row_core import LEAST_SCORE, SCORE_ROOM

ROW_SCOPE = "row_core"


@dataclass(frozen=True)
class RowOperands:
    """``query``, ``key`` ``[B, h, N, d]``, ``value`` ``[B, h, N, e]``, and what is attended to ``[B, h, N, e]``."""

    query: tf.Tensor
    key: tf.Tensor
    value: tf.Tensor
    attended: tf.Tensor


def attend(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, shift: tf.Tensor | None) -> tf.Tensor:
    """``[B, h, N, e]``. ``shift`` ``[1, h, 1, e]``: what is taken from values, and given back."""
    with tf.name_scope(ROW_SCOPE):
        centred = value if shift is None else value - shift
        scores = tf.matmul(query, key, transpose_b=True)
        weights = tf.exp(scores - tf.reduce_max(scores, axis=-1, keepdims=True))
        attended = tf.matmul(weights, centred) / tf.reduce_sum(weights, axis=-1, keepdims=True)
        return attended if shift is None else attended + shift


def extents(operands: RowOperands, means: tf.Tensor, shift: tf.Tensor) -> dict[str, tf.Tensor]:
    """What int8 needs to know of one sample in one use of a layer.

    Args:
        means: what keys and values are centred by ``[h * d + h * e]``.
        shift: what is taken from values besides ``[h * e]``.

    Returns:
        [min, max] of ``queries``, ``keys`` and ``attended``, centred; of ``values``, centred, shifted or not; of
        ``scores``, as far as they count, and of ``weighted`` sums of shifted values.
    """
    of_keys, of_values = split_means(means, operands)
    key, value = operands.key - of_keys, operands.value - of_values
    scores = tf.matmul(operands.query, key, transpose_b=True)
    largest = tf.reduce_max(scores, axis=-1, keepdims=True)
    shifted = value - tf.reshape(shift, of_values.shape)
    weighted = tf.matmul(tf.exp(scores - largest), shifted)
    low, high = tf.reduce_min(largest) - LEAST_SCORE - SCORE_ROOM, tf.reduce_max(largest) + SCORE_ROOM
    return {
        "queries": _range(operands.query),
        "keys": _range(key),
        "values": _range(tf.stack([value, shifted])),
        "scores": tf.stack([low, high]),
        "weighted": _range(weighted),
        "attended": _range(operands.attended - of_values),
    }


def means(operands: RowOperands) -> tf.Tensor:
    """Of keys and values over the rows, ``[h * d + h * e]``."""
    return tf.concat([tf.reshape(tf.reduce_mean(t, axis=[0, 2]), [-1]) for t in (operands.key, operands.value)], axis=0)


def split_means(means: tf.Tensor, operands: RowOperands) -> tuple[tf.Tensor, tf.Tensor]:
    """Of keys ``[1, h, 1, d]`` and of values ``[1, h, 1, e]``."""
    _, heads, _, channels = operands.value.shape
    of_keys, of_values = tf.split(means, [means.shape[0] - heads * channels, heads * channels])
    return tf.reshape(of_keys, [1, heads, 1, -1]), tf.reshape(of_values, [1, heads, 1, channels])


def _range(x: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.reduce_min(x), tf.reduce_max(x)])
