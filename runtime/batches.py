"""Many samples for a model of one fixed batch size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def batch(inputs: Mapping[str, np.ndarray], start: int, size: int) -> dict[str, np.ndarray]:
    """``size`` of the samples ``[n, ...]`` from ``start``; past the end the last one is repeated."""
    last = len(next(iter(inputs.values()))) - 1
    rows = np.minimum(np.arange(start, start + size), last)
    return {name: np.ascontiguousarray(values[rows]) for name, values in inputs.items()}
