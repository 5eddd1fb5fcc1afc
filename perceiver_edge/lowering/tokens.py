"""From inputs to tokens, with TensorFlow; `context` normalises them.

B batch, T tokens, C channels of a token, d of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from perceiver_edge.config import LAYER_NORM_EPSILON
from perceiver_edge.lowering.chunk_keys import token_order
from perceiver_edge.lowering.program import Norm, Program
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

RunLinear = Callable[[tf.Tensor, Linear, str], tf.Tensor]
"""Runs a projection of a matrix under a name."""


def source_data(
    feeds: Mapping[str, tf.Tensor], program: Program, *, linear: RunLinear, tensor: ToTensor
) -> list[tf.Tensor]:
    """Inputs ``[B, *shape]`` by name → what each source's stem makes of them, ``[B, T, d]``, in the encoder's order."""
    batch = next(iter(feeds.values())).shape[0]
    data = [
        tf.tile(tensor(source.rows)[None], [batch, 1, 1])
        if isinstance(source, Learned)
        else _data(feeds[source.name], source, linear=linear, tensor=tensor)
        for source in program.sources
    ]
    chunks = program.encoder.chunks
    return [tf.gather(part, token_order(part.shape[1], chunks), axis=1) for part in data] if chunks > 1 else data


def tokens(data: Sequence[tf.Tensor], sources: Sequence[Source | Learned], *, tensor: ToTensor) -> tf.Tensor:
    """What `source_data` gives, with positions: ``[B, T, C]``."""
    pairs = zip(data, sources, strict=True)
    placed = [part if isinstance(of, Learned) else _positioned(part, of, tensor) for part, of in pairs]
    return placed[0] if len(placed) == 1 else tf.concat(placed, axis=1)


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
    if source.padding is not None:
        table = np.concatenate([table, np.broadcast_to(source.padding, (len(table), len(source.padding)))], axis=1)
    # Item by item, because a converter would store positions that are repeated once for each.
    positions = tensor(table)[None]
    items = [tf.concat([item, positions], axis=-1) for item in tf.split(data, data.shape[0])]
    return items[0] if len(items) == 1 else tf.concat(items, axis=0)
