"""How a range is chosen from a stream of values: min-max, percentile, or least quantisation error.

Every observer sees the values once, keeps bounded memory, and gives the same range whatever the order of the values.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.calibration.histogram import Buckets, Histogram
from perceiver_edge.calibration.quant_params import Range
from perceiver_edge.calibration.quantisation_error import mean_squared_error
from perceiver_edge.errors import BadInputError

DEFAULT_PERCENTILE = 99.99


class Observer(Protocol):
    def update(self, values: NDArray[np.float32]) -> None:
        """Take in ``values``: finite, of any shape."""

    def range(self) -> Range:
        """The range chosen for what was seen. Raises BadInputError if that is nothing."""


class MinMaxObserver:
    """From the smallest to the largest value, exactly."""

    def __init__(self) -> None:
        self._min, self._max = np.inf, -np.inf

    def update(self, values: NDArray[np.float32]) -> None:
        if values.size:
            self._min = min(self._min, float(values.min()))
            self._max = max(self._max, float(values.max()))

    def range(self) -> Range:
        if self._min > self._max:
            raise BadInputError("No value was observed.", expected="at least one sample with values")
        return Range(self._min, self._max)


class _HistogramObserver:
    """What the two observers that look at the distribution share: a histogram, and the exact extremes."""

    def __init__(self) -> None:
        self._extremes = MinMaxObserver()
        self._histogram = Histogram()

    def update(self, values: NDArray[np.float32]) -> None:
        self._extremes.update(values)
        self._histogram.update(values)


class PercentileObserver(_HistogramObserver):
    """The central ``percentile`` per cent of the values; half of the rest is cut off at either end.

    The true limits lie in known histogram buckets, and the buckets' outer edges are taken: never more is cut than
    asked, and a limit is too wide by at most `histogram.RELATIVE_WIDTH` (0.8 %) of itself.
    """

    def __init__(self, percentile: float = DEFAULT_PERCENTILE) -> None:
        super().__init__()
        if not 0 < percentile <= 100:
            raise BadInputError("The percentile is out of range.", expected="a number in (0, 100]", got=percentile)
        self._percentile = percentile

    def range(self) -> Range:
        extremes = self._extremes.range()
        buckets = self._histogram.filled()
        cumulative = np.cumsum(buckets.counts)
        total = int(cumulative[-1])
        cut = int(total * (100 - self._percentile) / 200)
        low = buckets.lower[np.searchsorted(cumulative, cut, side="right")]
        high = buckets.upper[np.searchsorted(cumulative, total - cut, side="left")]
        return Range(max(float(low), extremes.min), min(float(high), extremes.max))


class MseObserver(_HistogramObserver):
    """The clipping range with the least mean squared error of asymmetric 8-bit quantisation.

    Starts from the observed extremes, widened to contain 0, and searches each limit in turn among equal fractions of
    the extreme while the other is held. The error is that of the histogram, see `quantisation_error`.
    """

    _FRACTIONS = 100
    _ROUNDS = 2

    def range(self) -> Range:
        extremes = self._extremes.range()
        best = Range(min(extremes.min, 0.0), max(extremes.max, 0.0))
        buckets = self._histogram.filled()
        # Widest first: argmin takes the first of equals, so nothing is clipped without a gain.
        lows = np.linspace(best.min, 0.0, self._FRACTIONS, endpoint=False).tolist()
        highs = np.linspace(best.max, 0.0, self._FRACTIONS, endpoint=False).tolist()
        for _ in range(self._ROUNDS):
            best = _least_error([Range(low, best.max) for low in lows], buckets)
            best = _least_error([Range(best.min, high) for high in highs], buckets)
        return best


def _least_error(candidates: list[Range], buckets: Buckets) -> Range:
    errors = [mean_squared_error(candidate, buckets) for candidate in candidates]
    return candidates[int(np.argmin(errors))]
