"""Many samples for a model of one fixed batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np


class _Batching(Protocol):
    """A `Runner`, whose module imports this one."""

    batch: Callable[[Mapping[str, np.ndarray]], Any]


def batch(inputs: Mapping[str, np.ndarray], start: int, size: int) -> dict[str, np.ndarray]:
    """``size`` of the samples ``[n, ...]`` from ``start``; past the end the last one is repeated."""
    last = len(next(iter(inputs.values()))) - 1
    rows = np.minimum(np.arange(start, start + size), last)
    return {name: np.ascontiguousarray(values[rows]) for name, values in inputs.items()}


def run_all(runner: _Batching, inputs: Mapping[str, np.ndarray]) -> Any:
    """`Runner.batch`, as it was called before."""
    return runner.batch(inputs)
