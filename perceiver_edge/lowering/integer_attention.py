"""Run a cross-attend in its int8 form with TensorFlow; `integer_core` has the equations.

B batch, T tokens, K chunks, g groups (matrices of keys), R rows of queries in each, d channels of a key, m =
`SHIFT_CHANNELS`. Every product and table look-up stands in a name scope `CORE_SCOPE`, by which converters find them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from perceiver_edge.lowering.integer_core import SHIFT_CHANNELS, SIGMOID_SHIFT
from perceiver_edge.lowering.program import Array, Exponential, IntegerCore

CORE_SCOPE = "integer_core"


def append_ones(tokens: tf.Tensor, ones: float) -> tf.Tensor:
    """``[B, T, d]`` → ``[B, T, d + m]``."""
    one_item = tf.fill([1, tokens.shape[1], SHIFT_CHANNELS], tf.cast(ones, tokens.dtype))
    # Item by item, because a converter would store a constant for all once for each.
    items = [tf.concat([item, one_item], axis=-1) for item in tf.split(tokens, tokens.shape[0])]
    return items[0] if len(items) == 1 else tf.concat(items, axis=0)


@dataclass(frozen=True)
class Chunks:
    """Keys or values ``[B, T, g * (d + m)]`` as ``[B, g, T / K, d + m]`` K times, and transposed; each made once."""

    tokens: tf.Tensor
    groups: int
    chunks: int

    @functools.cached_property
    def rows(self) -> list[tf.Tensor]:
        batch, tokens, channels = self.tokens.shape
        size = tokens // self.chunks
        parts = [tf.slice(self.tokens, [0, k * size, 0], [batch, size, channels]) for k in range(self.chunks)]
        split = [tf.reshape(part, [batch, size, self.groups, channels // self.groups]) for part in parts]
        return [tf.transpose(part, [0, 2, 1, 3]) for part in split]

    @functools.cached_property
    def columns(self) -> list[tf.Tensor]:
        return [tf.transpose(part, [0, 1, 3, 2]) for part in self.rows]

    # The sums are of what the very rows or columns hold once they are rounded, and so are the means.

    @functools.cached_property
    def sum_of_columns(self) -> tf.Tensor:
        """Over all tokens ``[B, g, 1, d + m]``."""
        return _sum([tf.reduce_sum(part, axis=-1)[:, :, tf.newaxis] for part in self.columns])

    @functools.cached_property
    def mean_of_columns(self) -> tf.Tensor:
        return self.sum_of_columns / self.tokens.shape[1]

    @functools.cached_property
    def mean_of_rows(self) -> tf.Tensor:
        """Over all tokens, without the channels of ones ``[B, g, 1, d]``."""
        parts = [tf.reduce_sum(part, axis=2, keepdims=True) for part in self.rows]
        return _sum(parts)[..., :-SHIFT_CHANNELS] / self.tokens.shape[1]


def attend(query: tf.Tensor, keys: Chunks, values: Chunks, core: IntegerCore, shift: tf.Tensor) -> tf.Tensor:
    """Weighted averages of centred values.

    Args:
        query: ``[B, g, R, d]``.
        keys, values: the last m channels of every group are ``core.key_ones`` and ``core.value_ones``.
        shift: ``[1, g, R, 1]``, of `shift_column`.

    Returns:
        ``[B, g, R, e]``.
    """
    query = tf.concat([query, tf.tile(shift, [query.shape[0], 1, 1, SHIFT_CHANNELS])], axis=-1)
    return _FORMS[core.exponential](query, keys, values, core)


def shift_column(core: IntegerCore) -> Array:
    """What the query holds against the channels of ones: numpy ``[1, g, R, 1]``."""
    lowered = core.bound + (SIGMOID_SHIFT if core.exponential == "sigmoid" else 0.0)
    return -lowered[None, :, :, None] / (core.key_ones * SHIFT_CHANNELS)


def _by_elu(query: tf.Tensor, keys: Chunks, values: Chunks, core: IntegerCore) -> tf.Tensor:
    """Keys as rows, values as columns: the layouts that XNNPACK multiplies fastest."""
    weighted, totals = [], []
    with tf.name_scope(CORE_SCOPE):
        for key, value in zip(keys.rows, values.columns, strict=True):
            weights = tf.nn.elu(tf.matmul(query, key, transpose_b=True))
            weighted.append(tf.matmul(weights, value, transpose_b=True))
            totals.append(tf.reduce_sum(weights, axis=-1, keepdims=True))
        sum_of_values, mean_of_values = values.sum_of_columns, values.mean_of_columns
    # A row far under its bound has all weights rounded to zero, and is then the mean of the values.
    total = tf.maximum(_sum(totals) + keys.tokens.shape[1], 1.0)
    average = (_sum(weighted) + sum_of_values) / total - mean_of_values
    return average[..., :-SHIFT_CHANNELS]


def _by_sigmoid(query: tf.Tensor, keys: Chunks, values: Chunks, core: IntegerCore) -> tf.Tensor:
    """Keys as columns, values as rows: ONNX has no transposed product. The values' ones sum up the weights."""
    weighted = []
    with tf.name_scope(CORE_SCOPE):
        for key, value in zip(keys.columns, values.rows, strict=True):
            weighted.append(tf.matmul(tf.sigmoid(tf.matmul(query, key)), value))
        mean_of_values = values.mean_of_rows
    result = _sum(weighted)
    channels = result.shape[-1] - SHIFT_CHANNELS
    one_weight = core.value_ones * math.exp(-SIGMOID_SHIFT)
    total = tf.maximum(result[..., channels : channels + 1], one_weight)
    return result[..., :channels] * (core.value_ones / total) - mean_of_values


def _sum(parts: list[tf.Tensor]) -> tf.Tensor:
    return functools.reduce(tf.add, parts)


_FORMS: dict[Exponential, Callable[[tf.Tensor, Chunks, Chunks, IntegerCore], tf.Tensor]] = {
    "elu": _by_elu,
    "sigmoid": _by_sigmoid,
}
