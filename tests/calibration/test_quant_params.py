"""int8 parameters of a range: zero is exact, the range is covered, the scale fits in float32."""

import math

import numpy as np
import pytest

from perceiver_edge.calibration import QuantParams, Range, quant_params
from perceiver_edge.errors import BadInputError


def dequantise(params: QuantParams, quantised: float) -> float:
    return params.scale * (quantised - params.zero_point)


def random_ranges() -> list[Range]:
    rng = np.random.default_rng(0)
    ends = rng.standard_normal((500, 2)) * 10.0 ** rng.integers(-30, 8, (500, 1))
    return [Range(float(min(pair)), float(max(pair))) for pair in ends]


@pytest.mark.parametrize(
    ("value_range", "expected"),
    [
        (Range(-1.0, 1.0), QuantParams(scale=float(np.float32(2 / 255)), zero_point=0)),
        (Range(0.0, 255.0), QuantParams(scale=1.0, zero_point=-128)),
        (Range(-255.0, 0.0), QuantParams(scale=1.0, zero_point=127)),
        (Range(-128.0, 127.0), QuantParams(scale=1.0, zero_point=0)),
        (Range(0.0, 0.0), QuantParams(scale=1.0, zero_point=0)),
    ],
)
def test_known_ranges(value_range: Range, expected: QuantParams) -> None:
    assert quant_params(value_range) == expected


def test_a_range_without_zero_is_widened_to_it() -> None:
    assert quant_params(Range(3.0, 5.0)) == quant_params(Range(0.0, 5.0))
    assert quant_params(Range(-5.0, -3.0)) == quant_params(Range(-5.0, 0.0))


def test_covers_the_range_to_half_a_step_with_a_float32_scale() -> None:
    for value_range in random_ranges():
        params = quant_params(value_range)
        assert -128 <= params.zero_point <= 127
        assert params.scale == float(np.float32(params.scale))
        half = params.scale * 0.501  # a little over half: the scale itself was rounded
        assert dequantise(params, -128) <= min(value_range.min, 0.0) + half
        assert dequantise(params, 127) >= max(value_range.max, 0.0) - half
        assert dequantise(params, params.zero_point) == 0.0


def test_a_tiny_range_keeps_a_normal_scale() -> None:
    params = quant_params(Range(-1e-44, 1e-44))
    assert params.scale >= np.finfo(np.float32).tiny
    assert math.isfinite(1 / params.scale)


@pytest.mark.parametrize("ends", [(1.0, -1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_an_unusable_range_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(BadInputError, match="range"):
        Range(*ends)
