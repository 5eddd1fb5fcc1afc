"""A Dense layer that starts as its torch counterpart does."""

from __future__ import annotations

import math

import keras


def linear(
    inputs: int, outputs: int, *, name: str, dtype: keras.DTypePolicy, use_bias: bool = True
) -> keras.layers.Dense:
    """Initialise as torch.nn.Linear does: weights and bias from U(-1/sqrt(inputs), 1/sqrt(inputs))."""
    bound = 1 / math.sqrt(inputs)
    return keras.layers.Dense(
        outputs,
        use_bias=use_bias,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        name=name,
        dtype=dtype,
    )
