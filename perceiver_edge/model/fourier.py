"""Fourier position encoding (Jaegle et al. 2021, section 3.2). It depends on the input's shape only: plain numpy."""

from __future__ import annotations

import numpy as np

from perceiver_edge.config import PerceiverConfig


def frequency_bands(config: PerceiverConfig) -> np.ndarray:
    """Frequencies ``[num_freq_bands]``, float64, from 1 to ``max_freq / 2``.

    Linear as in the paper, or, with a `freq_base` b, logarithmic: b ** linspace(0, log_b(max_freq / 2)).
    """
    if config.freq_base is None:
        return np.linspace(1.0, config.max_freq / 2, config.num_freq_bands)
    last_exponent = np.log(config.max_freq / 2) / np.log(config.freq_base)
    return config.freq_base ** np.linspace(0.0, last_exponent, config.num_freq_bands)


def encode_axis(size: int, config: PerceiverConfig) -> np.ndarray:
    """Encode the positions of one axis: ``[size, 2 * num_freq_bands + 1]``, float64.

    Positions p run from -1 to 1. Channels: sin(pi f p) of all bands, cos(pi f p) of all bands, p.
    """
    positions = np.linspace(-1.0, 1.0, size)[:, None]
    angles = np.pi * positions * frequency_bands(config)
    return np.concatenate([np.sin(angles), np.cos(angles), positions], axis=-1)


def encode_positions(shape: tuple[int, ...], config: PerceiverConfig) -> np.ndarray:
    """Encode every position of a grid: ``[*shape, axes * (2 * num_freq_bands + 1)]``, float64, first axis first."""
    per_axis = []
    for axis, size in enumerate(shape):
        encoded = encode_axis(size, config)
        others = [1] * len(shape)
        others[axis] = size
        per_axis.append(np.broadcast_to(encoded.reshape(*others, -1), (*shape, encoded.shape[-1])))
    return np.concatenate(per_axis, axis=-1)
