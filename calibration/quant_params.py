"""The range of a quantisation point, and the int8 parameters that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perceiver_edge.errors import BadInputError

INT8_MIN, INT8_MAX = -128, 127

MOST_MAGNITUDE = 1e9
"""Of a range's limits. Activations of sound models stay under 1e4; engines' arithmetic of scales ends near 1e38."""


@dataclass(frozen=True)
class Range:
    """The values from ``min`` to ``max`` (inclusive) that a quantisation point takes.

    Raises:
        BadInputError: not finite, or ``min`` above ``max``.
    """

    min: float
    max: float

    def __post_init__(self) -> None:
        if not -MOST_MAGNITUDE <= self.min <= self.max <= MOST_MAGNITUDE:  # NaN is not
            expected = f"numbers from -{MOST_MAGNITUDE:g} to {MOST_MAGNITUDE:g}, min <= max"
            raise BadInputError("A range is not usable.", expected=expected, got=self)


@dataclass(frozen=True)
class QuantParams:
    """``real = scale * (quantised - zero_point)``, quantised in int8 [-128, 127]; ``scale`` is exact in float32."""

    scale: float
    zero_point: int


def quant_params(value_range: Range) -> QuantParams:
    """Asymmetric int8 parameters of a range (Jacob et al. 2018, arXiv:1712.05877, section 3).

    The range is first widened to contain 0; rounding the zero point to a whole number then shifts it by at most half a
    step, so that the real 0 is exactly representable. A range of zeros only gets scale 1.
    """
    low, high = min(value_range.min, 0.0), max(value_range.max, 0.0)
    if low == high:
        return QuantParams(scale=1.0, zero_point=0)
    smallest = np.finfo(np.float32).tiny  # below it float32 loses precision, and engines flush to zero
    scale = max(float(np.float32((high - low) / (INT8_MAX - INT8_MIN))), float(smallest))
    zero_point = round(INT8_MIN - (INT8_MAX - INT8_MIN) * low / (high - low))
    return QuantParams(scale=scale, zero_point=zero_point)
