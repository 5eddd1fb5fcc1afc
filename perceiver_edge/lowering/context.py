"""From data to the normalised tokens that latents attend to, with TensorFlow.

B batch, T tokens, C context channels, d channels of the data, p of the positions.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from perceiver_edge.config import LAYER_NORM_EPSILON
from perceiver_edge.lowering.chunk_keys import token_order
from perceiver_edge.lowering.program import Array, ContextScale, Norm, Program

ToTensor = Callable[[Array], tf.Tensor]
"""Gives an array as a tensor, the same for the same array."""


def normalised_context(data: tf.Tensor, program: Program, *, tensor: ToTensor) -> tf.Tensor:
    """``[B, *axes, d]`` → the context ``[B, T, C]``: encoded, and normalised if it is shared."""
    data = _in_order(data, program)
    context = data
    if program.encoding is not None:
        encoding = tensor(program.encoding)[None]
        context = tf.concat([data, tf.tile(encoding, [data.shape[0], 1, 1])], axis=-1)
    match program.context_norm:
        case None:
            return context
        case Norm() as norm:
            return layer_norm(context, norm, tensor=tensor)
        case ContextScale() as scale:
            return context * _inverse_sigma(data, scale, context.shape[-1], tensor=tensor)


def layer_norm(x: tf.Tensor, norm: Norm, *, tensor: ToTensor) -> tf.Tensor:
    """Over the last axis (Ba et al. 2016, with biased variance)."""
    mean = tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axis=-1, keepdims=True)
    x_hat = (x - mean) * tf.math.rsqrt(variance + LAYER_NORM_EPSILON)
    if norm.gamma is None or norm.beta is None:
        return x_hat
    return x_hat * tensor(norm.gamma) + tensor(norm.beta)


def _in_order(data: tf.Tensor, program: Program) -> tf.Tensor:
    """``[B, *axes, d]`` → ``[B, T, d]``, in the order of the program's chunks."""
    data = tf.reshape(data, [data.shape[0], program.tokens, data.shape[-1]])
    return data if program.chunks == 1 else tf.gather(data, token_order(program.tokens, program.chunks), axis=1)


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
