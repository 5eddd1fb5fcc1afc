"""The context of tokens whose positions are constants, divided by σ, in the layouts that engines read fastest.

With TensorFlow; `fold_centring` has the equations. B batch, T tokens, C context channels, d channels of the data.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from perceiver_edge.config import LAYER_NORM_EPSILON
from perceiver_edge.lowering.program import Moments
from perceiver_edge.lowering.source import Array, AxisPositions, Learned, Source

ToTensor = Callable[[Array], tf.Tensor]
"""Gives an array as a tensor, the same for the same array."""

Columns = Callable[[bool], tf.Tensor]
"""Gives the context with a row for each channel ``[B, C, T]``; asked for it, with a last row of ones."""


@dataclass(frozen=True)
class ScaledTokens:
    """What a grid's context is made of: ``data`` ``[B, T, d]``, ``inverse_sigma`` ``[B, T, 1]``, and ``tables`` of
    positions, ``[size, channels]`` for each axis. ``outer`` ``[lines, channels]``: those of all axes but the last."""

    data: tf.Tensor
    inverse_sigma: tf.Tensor
    tables: tuple[tf.Tensor, ...]
    outer: Callable[[], tf.Tensor]


@dataclass(frozen=True)
class Layouts:
    """The context in other layouts than ``[B, T, C]``. ``scaled`` is None where it is not one grid's tokens over σ."""

    columns: Columns
    scaled: ScaledTokens | None = None


def columns_of(context: tf.Tensor, with_one: bool) -> tf.Tensor:
    """See `Columns`."""
    columns = tf.transpose(context, [0, 2, 1])
    return tf.concat([columns, zeros_like(columns[:, :1]) + 1.0], axis=1) if with_one else columns


def zeros_like(x: tf.Tensor) -> tf.Tensor:
    """Zeros that are computed: constants of this shape would be stored in the model."""
    return tf.minimum(tf.abs(x), 0.0)


def scaled_rows(source: Learned, batch: int, tensor: ToTensor) -> tuple[tf.Tensor, Layouts]:
    """As `scaled`, of tokens that are constants, and so is their σ."""
    rows = source.rows / np.sqrt(source.rows.var(axis=1, keepdims=True) + LAYER_NORM_EPSILON)
    context = tf.tile(tensor(rows)[None], [batch, 1, 1])
    return context, Layouts(functools.partial(columns_of, context))


def scaled(data: tf.Tensor, source: Source, scale: Moments | None, tensor: ToTensor) -> tuple[tf.Tensor, Layouts]:
    """Data and positions, each divided by σ and then put together: no table of all positions is ever needed.

    The context ``[B, T, C]``, and what gives it by channels: then engines multiply long rows with 1 / σ.
    """
    positions = source.positions
    assert positions is not None and scale is not None, "a scale is known only with positions"
    tables = positions.tables if isinstance(positions, AxisPositions) else (positions,)
    inverse_sigma = _inverse_sigma(data, scale, source.channels, tensor=tensor)
    sizes = tuple(len(table) for table in tables)
    placed = [_with_axis(tf.multiply, inverse_sigma, tensor(table), axis, sizes) for axis, table in enumerate(tables)]

    def columns(with_one: bool) -> tf.Tensor:
        batch, count, channels = data.shape
        one = tf.reshape(inverse_sigma, [batch, 1, count])
        given = tf.reshape(data, [batch, 1, count]) if channels == 1 else tf.transpose(data, [0, 2, 1])
        parts = [_axis_columns(one, tensor(table), axis, sizes) for axis, table in enumerate(tables)]
        if with_one:
            parts.append(zeros_like(one) + 1.0)
        return tf.concat([given * one, *parts], axis=1)

    grid = ScaledTokens(
        data, inverse_sigma, tuple(tensor(table) for table in tables),
        lambda: tensor(AxisPositions(tables[:-1]).whole()),
    )  # fmt: skip
    return tf.concat([data * inverse_sigma, *placed], axis=-1), Layouts(columns, grid if len(tables) > 1 else None)


def _axis_columns(one: tf.Tensor, table: tf.Tensor, axis: int, sizes: tuple[int, ...]) -> tf.Tensor:
    """One number a token ``[B, 1, T]`` times a table ``[size, c]`` of one axis: ``[B, c, T]``."""
    batch, _, count = one.shape
    before, after = math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :])
    rows = tf.transpose(table)[tf.newaxis]  # [1, c, size]
    if before > 1:
        spread = (
            tf.reshape(one, [batch, 1, before, sizes[axis] * after]) * tf.repeat(rows, after, axis=-1)[:, :, tf.newaxis]
        )
    else:
        spread = tf.reshape(one, [batch, 1, sizes[axis], after]) * rows[..., tf.newaxis]
    return tf.reshape(spread, [batch, table.shape[1], count])


def _inverse_sigma(data: tf.Tensor, scale: Moments, channels: int, *, tensor: ToTensor) -> tf.Tensor:
    """1 / σ of every token ``[B, T, 1]``; `fold_centring` has the equations, here with s² = square − m²."""
    share = 1.0 - data.shape[-1] / channels  # of the positions among all channels
    per_channel, of_positions_share, epsilon = (
        # Of as many axes as the rest: where the last axis is 1, ONNX Runtime takes 50 times as long for a bare number.
        tf.constant(number, data.dtype, [1, 1, 1]) for number in (1 / channels, share, LAYER_NORM_EPSILON)
    )  # fmt: skip
    sizes = tuple(len(moment) for moment in scale.mean)

    def plus(x: tf.Tensor, moments: tuple[Array, ...], factor: float) -> tf.Tensor:
        for axis, moment in enumerate(moments):
            x = _with_axis(tf.add, x, tensor(moment) * factor, axis, sizes)
        return x

    mean = plus(tf.reduce_sum(data, axis=-1, keepdims=True) * per_channel, scale.mean, share)
    of_data = tf.reduce_sum(tf.math.squared_difference(data, mean), axis=-1, keepdims=True) * per_channel
    # s² + (mean − m)² = square + mean (mean − 2 m), which an axis after the other can be added to
    of_positions = plus(mean * plus(mean, scale.mean, -2.0), scale.square, 1.0)
    return tf.math.rsqrt(of_data + of_positions_share * of_positions + epsilon)


def _with_axis(
    operator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    tokens: tf.Tensor,
    table: tf.Tensor,
    axis: int,
    sizes: tuple[int, ...],
) -> tf.Tensor:
    """Of one number a token ``[B, T, 1]``, T a grid of ``sizes``, and a table ``[size, c]`` of one axis: ``[B, T, c]``.

    In four dimensions however many axes there are, as all engines broadcast them.
    """
    batch, count, _ = tokens.shape
    before, after = math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :])
    spread = operator(tf.reshape(tokens, [batch * before, sizes[axis], after, 1]), table[tf.newaxis, :, tf.newaxis])
    return tf.reshape(spread, [batch, count, spread.shape[-1]])
