"""Resize a square table of positions, as transformers does on request: bicubic, torch's ``align_corners=False``."""

from __future__ import annotations

import math

import numpy as np

from perceiver_edge.lowering.source import Array

A = -0.75
"""Of the cubic convolution kernel (Keys 1981); torch's value."""


def bicubic(table: Array, shape: tuple[int, ...]) -> Array:
    """``[n², channels]`` → ``[height * width, channels]``; the table itself if it has that size."""
    side = math.isqrt(len(table))
    if (side, side) == tuple(shape):
        return table
    rows, columns = (_weights(side, size) for size in shape)
    grid = table.reshape(side, side, -1)
    resized = np.einsum("yh,xw,hwc->yxc", rows, columns, grid, optimize=True)
    return resized.reshape(math.prod(shape), -1)


def _weights(source: int, target: int) -> Array:
    """What each of ``target`` points takes of ``source`` points: ``[target, source]``; beyond the edge, the edge's."""
    weights = np.zeros((target, source))
    at = (np.arange(target) + 0.5) * source / target - 0.5
    first = np.floor(at).astype(int)
    for offset in range(-1, 3):
        index = np.clip(first + offset, 0, source - 1)
        np.add.at(weights, (np.arange(target), index), _cubic(np.abs(at - first - offset)))
    return weights


def _cubic(distance: Array) -> Array:
    near = ((A + 2) * distance - (A + 3)) * distance**2 + 1
    far = ((A * distance - 5 * A) * distance + 8 * A) * distance - 4 * A
    return np.where(distance <= 1, near, far)
