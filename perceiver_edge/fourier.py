"""Fourier features of positions (Jaegle et al. 2021, section 3.2), in numpy: the one place that computes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def frequencies(*, num_bands: int, max_freq: float, freq_base: float | None) -> NDArray[np.float64]:
    """The bands ``[num_bands]``: linear from 1 to ``max_freq / 2``, or logarithmic with ``freq_base``."""
    if freq_base is None:
        return np.linspace(1.0, max_freq / 2, num_bands)
    return np.power(freq_base, np.linspace(0.0, np.log(max_freq / 2) / np.log(freq_base), num_bands))


def fourier_encoding(
    shape: tuple[int, ...], *, num_bands: int, max_freq: float, freq_base: float | None
) -> NDArray[np.float64]:
    """Encode every position of a grid.

    Per axis, positions p run evenly from -1 to 1, and the channels are sin(pi f p) for all bands f, cos(pi f p) for
    all bands, then p itself.

    Args:
        shape: sizes of the input axes.

    Returns:
        ``[*shape, axes * (2 * num_bands + 1)]``, float64.
    """
    bands = np.pi * frequencies(num_bands=num_bands, max_freq=max_freq, freq_base=freq_base)
    channels = []
    for axis, size in enumerate(shape):
        # One position alone stands at -1, as in torch.linspace(-1, 1, 1).
        position = np.linspace(-1.0, 1.0, size)[:, None]
        encoded = np.concatenate([np.sin(position * bands), np.cos(position * bands), position], axis=1)
        along_axis = [1] * len(shape) + [encoded.shape[1]]
        along_axis[axis] = size
        channels.append(np.broadcast_to(encoded.reshape(along_axis), (*shape, encoded.shape[1])))
    return np.concatenate(channels, axis=-1)
