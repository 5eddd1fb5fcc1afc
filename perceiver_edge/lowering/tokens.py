"""From inputs to the normalised tokens that latents attend to, with TensorFlow.

B batch, T tokens, C context channels, d channels of the data, p of the positions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import tensorflow as tf

from perceiver_edge.config import LAYER_NORM_EPSILON
from perceiver_edge.lowering.chunk_keys import token_order
from perceiver_edge.lowering.context_layouts import Layouts, ToTensor, columns_of, scaled, scaled_rows
from perceiver_edge.lowering.program import ContextScale, Norm, Program
from perceiver_edge.lowering.source import (
    Affine,
    AxisPositions,
    Convolution,
    Learned,
    Linear,
    Lookup,
    Patches,
    Source,
)

RunLinear = Callable[[tf.Tensor, Linear, str], tf.Tensor]
"""Runs a projection of a matrix under a name."""


def tokens_and_context(
    feeds: Mapping[str, tf.Tensor], program: Program, *, linear: RunLinear, tensor: ToTensor
) -> tuple[tf.Tensor, tf.Tensor, Layouts]:
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
                scaled_rows(source, batch, tensor)
                if isinstance(source, Learned)
                else scaled(part, source, moments, tensor)
                for (part, source), moments in zip(pairs, scale.moments, strict=True)
            ]
            context = _joined([rows for rows, _ in parts], axis=1)
            is_read = any(stack.rows is None for stack in program.stacks)
            layouts = Layouts(
                lambda with_one: _joined([layouts.columns(with_one) for _, layouts in parts], axis=2),
                parts[0][1].scaled if len(parts) == 1 else None,
            )
            return tokens() if is_read else context, context, layouts
    return given, context, Layouts(functools.partial(columns_of, context))


def tokens_of(x: tf.Tensor, source: Source, *, linear: RunLinear, tensor: ToTensor) -> tf.Tensor:
    """An input ``[B, *shape]`` → its tokens ``[B, T, C]``."""
    return _positioned(_data(x, source, linear=linear, tensor=tensor), source, tensor)


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
