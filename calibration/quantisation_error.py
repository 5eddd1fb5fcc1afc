"""The error that 8-bit quantisation makes on the values of a histogram, without the values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.calibration.histogram import Buckets
from perceiver_edge.calibration.quant_params import INT8_MAX, INT8_MIN, Range, quant_params

_NARROW = 1e-3
"""A bucket narrower than this share of a step counts as one point: the formula below would lose it in rounding."""


def mean_squared_error(clip: Range, buckets: Buckets) -> float:
    """Mean of (x - dequantise(quantise(x)))² when ``clip`` is the range quantised, by `quant_params`.

    The values of a bucket are taken to lie evenly between its edges, and the mean over them is exact:

        1/(b - a) · ∫ₐᵇ e(x)² dx,   e(x) = x - clamp(round(x/s)·s, low, high)

    where low and high are the smallest and largest values on the grid of step s.
    """
    params = quant_params(clip)
    step = params.scale
    # In units of the step the grid is the whole numbers.
    lower, upper = buckets.lower / step, buckets.upper / step
    low, high = INT8_MIN - params.zero_point, INT8_MAX - params.zero_point
    width = upper - lower
    middle = (lower + upper) / 2
    at_middle = np.square(middle - np.clip(np.round(middle), low, high))
    with np.errstate(divide="ignore", invalid="ignore"):
        over_bucket = (_integral(upper, low, high) - _integral(lower, low, high)) / width
    error = np.where(width < _NARROW, at_middle, over_bucket)
    return float(error @ buckets.counts / buckets.counts.sum()) * step**2


def _integral(x: NDArray[np.float64], low: int, high: int) -> NDArray[np.float64]:
    """∫₀ˣ e² in units of the step: a twelfth for each whole step, cubics in the last one and in the clipped tails."""
    inside = np.clip(x, low, high)
    nearest = np.round(inside)
    return nearest / 12 + (inside - nearest) ** 3 / 3 + (x - inside) ** 3 / 3
