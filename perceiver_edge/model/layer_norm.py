"""Layer normalisation (Ba et al. 2016)."""

from __future__ import annotations

import keras
from keras import KerasTensor, ops

from perceiver_edge.config import LAYER_NORM_EPSILON


class LayerNorm(keras.layers.LayerNormalization):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, over the last axis.

    Keras computes x * scale + (beta - mean * scale) instead, which cancels where the variance is small: float32 outputs
    were off by 1e-5 and more.
    """

    def __init__(self, *, name: str, dtype: keras.DTypePolicy) -> None:
        super().__init__(epsilon=LAYER_NORM_EPSILON, name=name, dtype=dtype)

    def call(self, inputs: KerasTensor) -> KerasTensor:
        centred = inputs - ops.mean(inputs, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        return centred * ops.rsqrt(variance + self.epsilon) * self.gamma + self.beta
