"""Fourier features in the order of transformers."""

from __future__ import annotations

import numpy as np

from perceiver_edge.lowering.source import Array


def fourier_features(shape: tuple[int, ...], resolution: tuple[int, ...], *, bands: int) -> Array:
    """Positions p in [-1, 1] of all axes, then sin(π f p) axis by axis, then cos(π f p): ``[positions, channels]``.

    In float32, as torch computes them: at high frequencies that is 2e-5 from the exact values, which the weights were
    never trained on.

    Args:
        shape: of the grid, as it is. ``resolution``: twice the highest frequency along each axis.
        bands: frequencies an axis.
    """
    grid = np.meshgrid(*[_linspace(-1.0, 1.0, size) for size in shape], indexing="ij")
    positions = np.stack([axis.reshape(-1) for axis in grid], axis=-1)
    frequencies = np.stack([_linspace(1.0, maximum / 2, bands) for maximum in resolution])
    phases = (positions[:, :, None] * frequencies[None]).reshape(len(positions), -1)
    phases = np.float32(np.pi) * phases
    return np.concatenate([positions, np.sin(phases), np.cos(phases)], axis=-1).astype(np.float64)


def _linspace(start: float, stop: float, count: int) -> np.ndarray:
    """torch.linspace in float32: from both ends to the middle, each product and its sum rounded once."""
    first, last = np.float32(start), np.float32(stop)
    if count == 1:
        return np.array([first])
    step, index = float((last - first) / np.float32(count - 1)), np.arange(count)
    upwards, downwards = float(first) + step * index, float(last) - step * (count - 1 - index)
    return np.where(index < count // 2, upwards, downwards).astype(np.float32)
