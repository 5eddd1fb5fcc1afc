"""From inputs to the normalised tokens that latents attend to, with TensorFlow.

B batch, T tokens, C context channels, d channels of the data, p of the positions.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from perceiver_edge.config import LAYER_NORM_EPSILON
from perceiver_edge.lowering.chunk_keys import token_order
from perceiver_edge.lowering.program import ContextScale, Moments, Norm, Program
from perceiver_edge.lowering.source import (
    Affine,
    Array,
    AxisPositions,
    Convolution,
    Learned,
    Linear,
    Lookup,
    Patches,
    Source,
)

ToTensor = Callable[[Array], tf.Tensor]
"""Gives an array as a tensor, the same for the same array."""

Columns = Callable[[bool], tf.Tensor]
"""Gives the context with a row for each channel ``[B, C, T]``; asked for it, with a last row of ones."""

RunLinear = Callable[[tf.Tensor, Linear, str], tf.Tensor]
"""Runs a projection of a matrix under a name."""


def tokens_and_context(
    feeds: Mapping[str, tf.Tensor], program: Program, *, linear: RunLinear, tensor: ToTensor
) -> tuple[tf.Tensor, tf.Tensor, Columns]:
    """Inputs ``[B, *shape]`` by name → the tokens ``[B, T, C]``, and the encoder's context: normalised if shared.

    The context stands for the tokens where no stack's rows are made of them.
    """
    batch = next(iter(feeds.values())).shape[0]
    data = [
        tf.tile(tensor(source.rows)[None], [batch, 1, 1])
        if isinstance(source, Learned)
        else _data(feeds[source.name], source, linear=linear, tensor=tensor)
        for source in program.sources
    ]
    chunks = program.encoder.chunks
    if chunks > 1:
        data = [tf.gather(part, token_order(part.shape[1], chunks), axis=1) for part in data]
    pairs = list(zip(data, program.sources, strict=True))

    def tokens() -> tf.Tensor:
        placed = (part if isinstance(of, Learned) else _positioned(part, of, tensor) for part, of in pairs)
        return _joined(list(placed), axis=1)

    match program.encoder.context_norm:
        case None:
            context = given = tokens()
        case Norm() as norm:
            given = tokens()
            context = layer_norm(given, norm, tensor=tensor)
        case ContextScale() as scale:
            parts = [
                _scaled_rows(source, batch, tensor)
                if isinstance(source, Learned)
                else _scaled(part, source, moments, tensor)
                for (part, source), moments in zip(pairs, scale.moments, strict=True)
            ]
            context = _joined([rows for rows, _ in parts], axis=1)
            is_read = any(stack.rows is None for stack in program.stacks)
            return (
                tokens() if is_read else context,
                context,
                lambda with_one: _joined([columns(with_one) for _, columns in parts], axis=2),
            )
    return given, context, functools.partial(columns_of, context)


def columns_of(context: tf.Tensor, with_one: bool) -> tf.Tensor:
    """See `Columns`."""
    columns = tf.transpose(context, [0, 2, 1])
    return tf.concat([columns, zeros_like(columns[:, :1]) + 1.0], axis=1) if with_one else columns


def zeros_like(x: tf.Tensor) -> tf.Tensor:
    """Zeros that are computed: constants of this shape would be stored in the model."""
    return tf.minimum(tf.abs(x), 0.0)


def layer_norm(x: tf.Tensor, norm: Norm, *, tensor: ToTensor) -> tf.Tensor:
    """Over the last axis (Ba et al. 2016, with biased variance)."""
    mean = tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axis=-1, keepdims=True)
    x_hat = (x - mean) * tf.math.rsqrt(variance + LAYER_NORM_EPSILON)
    if norm.gamma is None or norm.beta is None:
        return x_hat
    return x_hat * tensor(norm.gamma) + tensor(norm.beta)


def _data(x: tf.Tensor, source: Source, *, linear: RunLinear, tensor: ToTensor) -> tf.Tensor:
    """``[B, *shape]`` → what the stem makes of it ``[B, T, d]``."""
    for index, step in enumerate(source.stem):
        match step:
            case Affine():
                rows = linear(tf.reshape(x, [-1, x.shape[-1]]), step.linear, f"{source.name}.{index}")
                x = tf.reshape(rows, [*x.shape[:-1], rows.shape[-1]])
            case Convolution():
                x = _convolved(x, step, tensor)
            case Lookup():
                x = tf.gather(tensor(step.table), x)
            case Patches():
                x = _patches(x, step.sizes)
    return tf.reshape(x, [x.shape[0], source.tokens, x.shape[-1]])


def _convolved(x: tf.Tensor, step: Convolution, tensor: ToTensor) -> tf.Tensor:
    """``[B, height, width, channels]``."""
    if step.padding:
        around = [step.padding, step.padding]
        x = tf.pad(x, [[0, 0], around, around, [0, 0]])
    x = tf.nn.conv2d(x, tensor(step.kernel), step.stride, "VALID")
    if step.scale is not None:
        x = x * tensor(step.scale)
    x = tf.nn.relu(tf.nn.bias_add(x, tensor(step.offset)))
    return tf.nn.max_pool2d(x, step.pool, step.pool_stride, "VALID")


def _patches(x: tf.Tensor, sizes: tuple[int, ...]) -> tf.Tensor:
    """``[B, *axes, c]`` → ``[B, *blocks, block elements * c]``."""
    axes = len(sizes)
    split = [part for size, block in zip(x.shape[1:-1], sizes, strict=True) for part in (size // block, block)]
    x = tf.reshape(x, [x.shape[0], *split, x.shape[-1]])
    x = tf.transpose(x, [0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1])
    return tf.reshape(x, [*x.shape[: axes + 1], -1])


def _positioned(data: tf.Tensor, source: Source, tensor: ToTensor) -> tf.Tensor:
    if source.positions is None:
        return data
    table = source.positions.whole() if isinstance(source.positions, AxisPositions) else source.positions
    if source.adds_positions:
        return data + tensor(table)[None]
    # Item by item, because a converter would store positions that are repeated once for each.
    positions = tensor(table)[None]
    items = [tf.concat([item, positions], axis=-1) for item in tf.split(data, data.shape[0])]
    return items[0] if len(items) == 1 else tf.concat(items, axis=0)


def _joined(parts: list[tf.Tensor], *, axis: int) -> tf.Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=axis)


def _scaled_rows(source: Learned, batch: int, tensor: ToTensor) -> tuple[tf.Tensor, Columns]:
    """As `_scaled`, of tokens that are constants, and so is their σ."""
    rows = source.rows / np.sqrt(source.rows.var(axis=1, keepdims=True) + LAYER_NORM_EPSILON)
    context = tf.tile(tensor(rows)[None], [batch, 1, 1])
    return context, functools.partial(columns_of, context)


def _scaled(data: tf.Tensor, source: Source, scale: Moments | None, tensor: ToTensor) -> tuple[tf.Tensor, Columns]:
    """Data and positions, each divided by σ and then put together: no table of all positions is ever needed.

    The context ``[B, T, C]``, and what gives it by channels: then engines multiply long rows with 1 / σ.
    """
    positions = source.positions
    assert positions is not None and scale is not None, "a scale is known only with positions"
    tables = positions.tables if isinstance(positions, AxisPositions) else (positions,)
    inverse_sigma = _inverse_sigma(data, scale, source.channels, tensor=tensor)
    sizes = tuple(len(table) for table in tables)
    scaled = [_with_axis(tf.multiply, inverse_sigma, tensor(table), axis, sizes) for axis, table in enumerate(tables)]

    def columns(with_one: bool) -> tf.Tensor:
        batch, count, channels = data.shape
        one = tf.reshape(inverse_sigma, [batch, 1, count])
        given = tf.reshape(data, [batch, 1, count]) if channels == 1 else tf.transpose(data, [0, 2, 1])
        parts = [_axis_columns(one, tensor(table), axis, sizes) for axis, table in enumerate(tables)]
        if with_one:
            parts.append(zeros_like(one) + 1.0)
        return tf.concat([given * one, *parts], axis=1)

    return tf.concat([data * inverse_sigma, *scaled], axis=-1), columns


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
