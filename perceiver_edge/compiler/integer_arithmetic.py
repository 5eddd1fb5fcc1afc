"""What engines compute with whole numbers in an int8 model, with TensorFlow: rounding, and an integer core.

Sums of products of eight bits are taken in float32, which holds them exactly up to 2²⁴ and rounds no worse beyond.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from perceiver_edge.converters.core_params import Affine, CoreParams, RowParams
from perceiver_edge.lowering.integer_attention import Chunks
from perceiver_edge.lowering.integer_core import SHIFT_CHANNELS, SIGMOID_SHIFT
from perceiver_edge.lowering.program import IntegerCore
from perceiver_edge.lowering.row_attention import RowOperands, split_means
from perceiver_edge.lowering.row_core import Centring

LOWEST, HIGHEST = -128, 127


def steps(x: tf.Tensor, scale: tf.Tensor | float, zero_point: tf.Tensor | float) -> tf.Tensor:
    """In whole numbers from -128 to 127."""
    return tf.clip_by_value(tf.round(x / scale) + zero_point, LOWEST, HIGHEST)


def rounded(x: tf.Tensor, affine: Affine) -> tf.Tensor:
    """To int8 and back."""
    return (steps(x, affine.scale, affine.zero_point) - affine.zero_point) * affine.scale


def attend(
    query: tf.Tensor, keys: Chunks, values: Chunks, core: IntegerCore, shift: tf.Tensor, *, params: CoreParams
) -> tf.Tensor:
    """As `integer_attention.attend`, rounded wherever engines round."""
    query = rounded(tf.concat([query, tf.tile(shift, [query.shape[0], 1, 1, SHIFT_CHANNELS])], -1), params.query)
    if core.mean_value is None:  # projected ones are rounded already, by their product
        keys, values = (
            Chunks(rounded(side.tokens, affine), side.groups, side.chunks)
            for side, affine in ((keys, params.keys), (values, params.values))
        )
    weights = [_weights(query, key, core, params) for key in keys.rows]
    weighted = [tf.matmul(*pair) for pair in zip(weights, values.rows, strict=True)]
    if core.exponential == "elu":
        return _elu_average(weights, weighted, values, params)
    return _sigmoid_average(weighted, values, core)


def attend_rows(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, shift: tf.Tensor | None, *, params: RowParams
) -> tf.Tensor:
    """As `row_attention.attend`, rounded wherever engines round; the operands are rounded already, the shift exact."""
    centred = value
    if shift is not None:
        assert params.shift is not None, "both or neither"
        centred = rounded(value - shift, params.shift)
    scores = rounded(tf.matmul(query, key, transpose_b=True), params.scores)
    weights = tf.exp(scores - tf.reduce_max(scores, axis=-1, keepdims=True))
    weighted = rounded(tf.matmul(rounded(weights, params.weights), centred), params.weighted)
    attended = weighted / tf.reduce_sum(weights, axis=-1, keepdims=True)
    return attended if shift is None else attended + shift


def rows_lost(
    operands: RowOperands, centring: Centring, shift: np.ndarray | None, value: Affine, params: RowParams
) -> tf.Tensor:
    """What `attend_rows` misses of what is attended to: squared L2 error, and squared norm ``[2]``.

    Left out: int8 in queries and keys as they come from their product, which every int8 model has.
    """
    means = tf.constant(centring.means, operands.value.dtype)
    of_keys, of_values = split_means(means, operands)
    found = attend_rows(
        operands.query / centring.key_scale, (operands.key - of_keys) * centring.key_scale,
        rounded((operands.value - of_values) * centring.value_scale, value),
        None if shift is None else tf.constant(shift.reshape(of_values.shape), operands.value.dtype), params=params,
    )  # fmt: skip
    error = found / centring.value_scale + of_values - operands.attended
    return tf.stack([tf.reduce_sum(error**2), tf.reduce_sum(operands.attended**2)])


def _weights(query: tf.Tensor, key: tf.Tensor, core: IntegerCore, params: CoreParams) -> tf.Tensor:
    scores = rounded(tf.matmul(query, key, transpose_b=True), params.scores)
    return rounded(tf.nn.elu(scores) if core.exponential == "elu" else tf.sigmoid(scores), params.weights)


def _elu_average(weights: list[tf.Tensor], weighted: list[tf.Tensor], values: Chunks, params: CoreParams) -> tf.Tensor:
    """LiteRT: sums over a chunk are rounded to int8. `lowering.integer_core` has the equation."""
    sums = tf.add_n([rounded(part, params.weighted) for part in weighted])
    totals = tf.add_n([rounded(tf.reduce_sum(part, axis=-1, keepdims=True), params.total) for part in weights])
    total = tf.maximum(totals + values.tokens.shape[1], 1.0)
    return ((sums + values.sum_of_columns) / total - values.mean_of_columns)[..., :-SHIFT_CHANNELS]


def _sigmoid_average(weighted: list[tf.Tensor], values: Chunks, core: IntegerCore) -> tf.Tensor:
    """ONNX Runtime: sums are int32, and those of the weights are read from the values' channels of ones."""
    sums = tf.add_n(weighted)
    total = tf.maximum(sums[..., -SHIFT_CHANNELS, tf.newaxis], core.value_ones * math.exp(-SIGMOID_SHIFT))
    return sums[..., :-SHIFT_CHANNELS] * (core.value_ones / total) - values.mean_of_rows
