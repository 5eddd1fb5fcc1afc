"""Keras layers with the initialisation and the constants of their torch counterparts."""

from __future__ import annotations

import math

import keras

from perceiver_edge.config import LAYER_NORM_EPSILON


def linear(
    inputs: int, outputs: int, *, name: str, dtype: keras.DTypePolicy, use_bias: bool = True
) -> keras.layers.Dense:
    """A Dense layer that starts as torch.nn.Linear does: weights and bias from U(-1/sqrt(inputs), 1/sqrt(inputs))."""
    bound = 1 / math.sqrt(inputs)
    return keras.layers.Dense(
        outputs,
        use_bias=use_bias,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        name=name,
        dtype=dtype,
    )


def layer_norm(*, name: str, dtype: keras.DTypePolicy) -> keras.layers.LayerNormalization:
    return keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, name=name, dtype=dtype)
