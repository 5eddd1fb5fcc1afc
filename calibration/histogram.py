"""Counts of float32 values in fixed buckets: bounded memory, and reordering changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MANTISSA_BITS_DROPPED = 16
_NUM_BUCKETS = 1 << 16
RELATIVE_WIDTH = 2.0**-7
"""No bucket is wider than this times the magnitude of the values in it (denormals aside)."""


@dataclass(frozen=True)
class Buckets:
    """The buckets that hold something, in ascending order: edges float64 [n] (inclusive) and counts int64 [n]."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    counts: NDArray[np.int64]


class Histogram:
    """A bucket is one bfloat16 bit pattern: the float32 values that share their upper 16 bits.

    The buckets do not depend on the data, so there is nothing to rescale: any order of updates gives the same
    counts, bit for bit. Takes 512 KiB.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_NUM_BUCKETS, dtype=np.int64)

    def update(self, values: NDArray[np.float32]) -> None:
        """Count ``values``, finite, of any shape."""
        bits = np.ascontiguousarray(values, dtype=np.float32).reshape(-1).view(np.uint32)
        self._counts += np.bincount(bits >> _MANTISSA_BITS_DROPPED, minlength=_NUM_BUCKETS)

    def filled(self) -> Buckets:
        occupied = np.flatnonzero(self._counts)
        first_bits = occupied.astype(np.uint32) << _MANTISSA_BITS_DROPPED
        last_bits = first_bits | np.uint32((1 << _MANTISSA_BITS_DROPPED) - 1)
        # Bit patterns grow away from zero, so "first" is the lower edge only of a positive bucket.
        edges = np.sort(np.stack([first_bits.view(np.float32), last_bits.view(np.float32)]).astype(np.float64), axis=0)
        order = np.argsort(edges.sum(axis=0))
        return Buckets(edges[0, order], edges[1, order], self._counts[occupied][order])
