"""Observers: what they find, that order changes nothing, and that they stay small."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from perceiver_edge.calibration import MinMaxObserver, MseObserver, Observer, PercentileObserver, Range, quant_params
from perceiver_edge.calibration.histogram import RELATIVE_WIDTH, Histogram
from perceiver_edge.calibration.quantisation_error import mean_squared_error
from perceiver_edge.errors import BadInputError

MAKERS: list[Callable[[], Observer]] = [MinMaxObserver, PercentileObserver, MseObserver]


def values_of(kind: str, seed: int, size: int = 20_000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    draw = {
        "normal": lambda: rng.standard_normal(size) - 0.3,
        "heavy": lambda: rng.standard_t(2, size) * 1e-3,
        "positive": lambda: rng.exponential(5.0, size),
        "gelu": lambda: np.maximum(rng.standard_normal(size), -0.17),
    }[kind]
    return draw().astype(np.float32)


KINDS = ["normal", "heavy", "positive", "gelu"]


def observed(make: Callable[[], Observer], *parts: np.ndarray) -> Observer:
    observer = make()
    for part in parts:
        observer.update(part)
    return observer


def true_error(values: np.ndarray, clip: Range) -> float:
    params = quant_params(clip)
    exact = values.astype(np.float64)
    quantised = np.clip(np.round(exact / params.scale) + params.zero_point, -128, 127)
    return float(np.mean(((quantised - params.zero_point) * params.scale - exact) ** 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", MAKERS)
def test_order_changes_nothing(make: Callable[[], Observer], kind: str) -> None:
    first, second = values_of(kind, 1), values_of(kind, 2) * 3
    both = observed(make, first, second).range()
    assert observed(make, second, first).range() == both
    shuffled = np.random.default_rng(3).permutation(np.concatenate([first, second]))
    assert observed(make, *np.split(shuffled, 8)).range() == both


@pytest.mark.parametrize("make", MAKERS)
def test_seeing_nothing_is_an_error(make: Callable[[], Observer]) -> None:
    with pytest.raises(BadInputError, match="No value"):
        observed(make, np.zeros((0, 3), np.float32)).range()


@pytest.mark.parametrize("make", MAKERS)
def test_only_zeros(make: Callable[[], Observer]) -> None:
    assert observed(make, np.zeros(9, np.float32)).range() == Range(0.0, 0.0)


def test_min_max_is_exact() -> None:
    values = values_of("heavy", 0)
    assert observed(MinMaxObserver, values.reshape(4, -1)).range() == Range(float(values.min()), float(values.max()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.99, 100.0])
def test_percentile_cuts_no_more_than_asked_and_is_as_tight_as_documented(kind: str, percentile: float) -> None:
    values = values_of(kind, 5)
    found = observed(lambda: PercentileObserver(percentile), values).range()
    tail = (100 - percentile) / 200
    low, high = np.quantile(values, [tail, 1 - tail], method="inverted_cdf")
    assert np.mean(values < found.min) <= tail
    assert np.mean(values > found.max) <= tail
    # the value beyond the limit may be a neighbour of the quantile; neighbours are near at these sizes
    gap = np.diff(np.sort(values))[-3:].max() if percentile == 99.99 else 0.01 * (high - low)
    assert found.min >= low - abs(low) * RELATIVE_WIDTH - gap
    assert found.max <= high + abs(high) * RELATIVE_WIDTH + gap


def test_a_percentile_of_few_values_is_min_max() -> None:
    values = np.float32([-1.5, 0.2, 7.7])
    assert observed(PercentileObserver, values).range() == Range(-1.5, float(np.float32(7.7)))


def test_percentile_ignores_an_outlier_that_min_max_keeps() -> None:
    values = np.append(values_of("normal", 0, 100_000), np.float32(1e6))
    assert observed(MinMaxObserver, values).range().max == 1e6
    assert observed(PercentileObserver, values).range().max < 10


@pytest.mark.parametrize("percentile", [0.0, -1.0, 100.5, float("nan")])
def test_percentile_out_of_range_is_refused(percentile: float) -> None:
    with pytest.raises(BadInputError, match="percentile"):
        PercentileObserver(percentile)


@pytest.mark.parametrize("kind", KINDS)
def test_mse_beats_min_max_and_is_near_the_best_symmetric_shrink(kind: str) -> None:
    values = values_of(kind, 7)
    extremes = observed(MinMaxObserver, values).range()
    found = true_error(values, observed(MseObserver, values).range())
    shrinks = [Range(extremes.min * share, extremes.max * share) for share in np.linspace(1, 0.05, 96).tolist()]
    assert found <= true_error(values, extremes)
    assert found <= 1.05 * min(true_error(values, clip) for clip in shrinks)


@pytest.mark.parametrize("sign", [-1, 1])
def test_mse_clips_a_rare_outlier_on_either_side(sign: int) -> None:
    values = np.append(values_of("normal", 0, 500_000), np.float32(sign * 40))
    found = observed(MseObserver, values).range()
    assert 3 < -found.min < 30
    assert 3 < found.max < 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [1.0, 0.7, 0.2])
def test_the_error_of_a_histogram_is_that_of_its_values(kind: str, share: float) -> None:
    values = values_of(kind, 9, 200_000)
    histogram = Histogram()
    histogram.update(values)
    clip = Range(min(0.0, float(values.min())) * share, float(values.max()) * share)
    assert mean_squared_error(clip, histogram.filled()) == pytest.approx(true_error(values, clip), rel=0.1)


def test_histogram_buckets_hold_their_values_in_order() -> None:
    values = np.float32([-3.0, -1e-30, 0.0, 1e-45, 2.5, 2.5, 3e38])
    histogram = Histogram()
    histogram.update(values)
    buckets = histogram.filled()
    assert buckets.counts.sum() == len(values)
    assert np.all(np.diff(buckets.lower + buckets.upper) > 0)
    for value in values.astype(np.float64):
        assert np.any((buckets.lower <= value) & (value <= buckets.upper))
    assert np.all(buckets.upper - buckets.lower <= RELATIVE_WIDTH * np.maximum(abs(buckets.upper), 1e-36))


@pytest.mark.parametrize("make", MAKERS)
def test_memory_does_not_grow(make: Callable[[], Observer]) -> None:
    def held_after(updates: int) -> int:
        tracemalloc.start()
        try:
            observer = make()
            for seed in range(updates):
                observer.update(values_of("normal", seed, 5_000))
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    held_after(1)  # what NumPy caches on first use
    assert held_after(100) <= held_after(2) + 4096
