"""Ranges of int8 weights with which no x86 kernel saturates.

Without VNNI (Intel Core up to the 9th generation, AMD before Zen 4) x86 kernels multiply uint8 activations by int8
weights with VPMADDUBSW, which adds the products of two neighbours, a₀w₀ + a₁w₁, in int16 and saturates; ONNX Runtime's
do, and others'. With a ≤ 255 nothing saturates as long as two neighbours of one sign add up to at most 128 (255 · 128 <
2¹⁵). So each output channel gets the finest scale for which that holds. Its step is 1 to 2 times that of plain int8;
with weights of 7 bits it would be 2 times always. The kernels stay the fast ones: with weights in uint8, which nothing
saturates either, products take from a quarter longer to twice as long where there is VNNI.
"""

from __future__ import annotations

import numpy as np

LARGEST_PAIR = 128
"""Of two neighbours: ``255 * 128 <= 32767 < 255 * 129``."""


def largest_magnitudes(weight: np.ndarray) -> np.ndarray:
    """What int8's 127 has to stand for in each output channel, ``[out]``.

    Args:
        weight: ``[in, out]``. Neighbours are the channels 2i and 2i + 1 of the input.
    """
    magnitudes, pairs = np.abs(weight).max(axis=0), largest_pairs(weight)
    largest = np.maximum(magnitudes, pairs * (127 / LARGEST_PAIR))
    rounded = np.rint(weight * (127 / np.where(largest > 0, largest, 1)))
    # Where rounding takes a pair over it, one step more is enough: each of the two gains at most half a one.
    return np.where(largest_pairs(rounded) > LARGEST_PAIR, np.maximum(magnitudes, pairs), largest)


def largest_pairs(weight: np.ndarray) -> np.ndarray:
    """The largest sum of two neighbours of one sign in each output channel, ``[out]``."""
    inputs, outputs = weight.shape
    padded = np.zeros((inputs + inputs % 2, outputs), weight.dtype)
    padded[:inputs] = weight
    pairs = padded.reshape(-1, 2, outputs)
    return np.maximum(np.maximum(pairs, 0).sum(axis=1), np.maximum(-pairs, 0).sum(axis=1)).max(axis=0)
