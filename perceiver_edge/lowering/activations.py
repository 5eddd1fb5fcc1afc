"""The functions between the two projections of a feed-forward block, with TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from perceiver_edge.lowering.program import Activation


def gelu(x: tf.Tensor) -> tf.Tensor:
    """Exact GELU, x * Phi(x) (Hendrycks and Gimpel 2016), written so that both converters recognise it."""
    return 0.5 * x * (1.0 + tf.math.erf(x * 0.5**0.5))


def gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    """GELU by a hyperbolic tangent (Hendrycks and Gimpel 2016)."""
    return 0.5 * x * (1.0 + tf.tanh((2.0 / math.pi) ** 0.5 * (x + 0.044715 * x * x * x)))


ACTIVATIONS: dict[Activation, Callable[[tf.Tensor], tf.Tensor]] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": tf.nn.relu,
    "silu": lambda x: x * tf.sigmoid(x),
}
