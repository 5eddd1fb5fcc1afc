"""Random weights, for architectures that have no trained ones."""

from __future__ import annotations

import math

import numpy as np

from perceiver_edge.checkpoints.layout import expected_shapes
from perceiver_edge.config import PerceiverConfig


def init_weights(config: PerceiverConfig, seed: int) -> dict[str, np.ndarray]:
    """Canonical float32 weights, drawn from the default distributions of the torch layers.

    Linear weights and biases: U(-1/sqrt(inputs), 1/sqrt(inputs)). Latents: N(0, 1). LayerNorm: ones and zeros.
    """
    shapes = expected_shapes(config)
    random = np.random.default_rng(seed)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name == "latents":
            return random.standard_normal(shape)
        owner, _, kind = name.rpartition(".")
        weight_shape = shapes[f"{owner}.weight"]
        if len(weight_shape) == 1:  # a LayerNorm's scale is a vector, a Linear's weight a matrix
            return np.ones(shape) if kind == "weight" else np.zeros(shape)
        bound = 1 / math.sqrt(weight_shape[1])
        return random.uniform(-bound, bound, shape)

    return {name: draw(name, shape).astype(np.float32) for name, shape in shapes.items()}
