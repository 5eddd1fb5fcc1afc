"""From inputs to the normalised tokens that latents attend to, with TensorFlow.

B batch, T tokens, C context channels, d channels of the data, p of the positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from perceiver_edge.config import LAYER_NORM_EPSILON
from perceiver_edge.lowering.chunk_keys import token_order
from perceiver_edge.lowering.program import ContextScale, Norm, Program
from perceiver_edge.lowering.source import Affine, Array, Convolution, Linear, Lookup, Patches, Source

ToTensor = Callable[[Array], tf.Tensor]
"""Gives an array as a tensor, the same for the same array."""

RunLinear = Callable[[tf.Tensor, Linear, str], tf.Tensor]
"""Runs a projection of a matrix under a name."""


def tokens_and_context(
    feeds: Mapping[str, tf.Tensor], program: Program, *, linear: RunLinear, tensor: ToTensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Inputs ``[B, *shape]`` by name → the tokens ``[B, T, C]``, and the encoder's context: normalised if shared."""
    data = [_data(feeds[source.name], source, linear=linear, tensor=tensor) for source in program.sources]
    chunks = program.encoder.chunks
    if chunks > 1:
        data = [tf.gather(part, token_order(part.shape[1], chunks), axis=1) for part in data]
    parts = [_positioned(part, source, tensor) for part, source in zip(data, program.sources, strict=True)]
    tokens = parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)
    match program.encoder.context_norm:
        case None:
            return tokens, tokens
        case Norm() as norm:
            return tokens, layer_norm(tokens, norm, tensor=tensor)
        case ContextScale() as scale:
            return tokens, tokens * _inverse_sigma(data[0], scale, tokens.shape[-1], tensor=tensor)


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
    positions = tensor(source.positions)[None]
    if source.adds_positions:
        return data + positions
    return tf.concat([data, tf.tile(positions, [data.shape[0], 1, 1])], axis=-1)


def _inverse_sigma(data: tf.Tensor, scale: ContextScale, channels: int, *, tensor: ToTensor) -> tf.Tensor:
    """1 / σ of every token ``[B, T, 1]``; `fold_centring` has the equations."""
    position_mean, position_variance = (
        tensor(moment)[None] for moment in (scale.position_mean, scale.position_variance)
    )  # fmt: skip
    share = 1.0 - data.shape[-1] / channels  # of the positions among all channels
    mean = tf.reduce_sum(data, axis=-1, keepdims=True) / channels + share * position_mean
    of_data = tf.reduce_sum(tf.math.squared_difference(data, mean), axis=-1, keepdims=True) / channels
    of_positions = share * (position_variance + tf.math.squared_difference(mean, position_mean))
    return tf.math.rsqrt(of_data + of_positions + LAYER_NORM_EPSILON)
