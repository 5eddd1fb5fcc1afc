"""What layers gave, pooled with TensorFlow, channel by channel (attention residuals, perceiver-pytorch 0.10).

    w = softmax over the layers of (RMS(h) W_1 W_2)         h: what went into the first of them, and what each gave
    pooled = Σ w h                                          RMS(h) = h / √(mean of h² + ε), its gain is in W_1

(Chen et al. 2026, arXiv:2603.15031; the pool of Avsec et al. 2021, Enformer.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from perceiver_edge.lowering.program import AttentionResidual, Linear

EPSILON = 2.0**-23
"""torch's of an RMS normalisation that was given none: that of float32."""


def pool(
    given: Sequence[tf.Tensor],
    block: AttentionResidual,
    name: str,
    *,
    batch: int,
    linear: Callable[[tf.Tensor, Linear, str], tf.Tensor],
) -> tf.Tensor:
    """``[batch * n, channels]`` of each layer → ``[batch * n, channels]``."""
    channels = given[0].shape[-1]
    layers = tf.concat([tf.reshape(rows, [batch, 1, -1, channels]) for rows in given], axis=1)
    rows = tf.reshape(layers, [-1, channels])  # a sample's rows are beside each other, as in all products
    normed = rows * tf.math.rsqrt(tf.reduce_mean(tf.square(rows), axis=-1, keepdims=True) + EPSILON)
    logits = linear(linear(normed, block.down, f"{name}.down"), block.up, f"{name}.up")
    logits = tf.reshape(logits, layers.shape)
    weights = tf.exp(logits - tf.reduce_max(logits, axis=1, keepdims=True))
    pooled = tf.reduce_sum(weights * layers, axis=1) / tf.reduce_sum(weights, axis=1)
    return tf.reshape(pooled, given[0].shape)
