"""observe(): one observer a point, one sample at a time, errors that name point and sample."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from perceiver_edge.calibration import METHODS, Range, Sample, observe
from perceiver_edge.errors import BadInputError


def samples(count: int, size: int = 4) -> Iterator[Sample]:
    for index in range(count):
        yield {"input": np.full((size, size, 1), index, np.float32)}


def taps(batch: Sample) -> dict[str, np.ndarray]:
    return {"double": batch["input"] * 2, "negative": -batch["input"]}


def test_ranges_by_point_name() -> None:
    assert observe(taps, samples(5)) == {"double": Range(0.0, 8.0), "negative": Range(-4.0, 0.0)}


def test_taps_see_a_batch_of_one() -> None:
    shapes = []
    observe(lambda batch: shapes.append(batch["input"].shape) or taps(batch), samples(2))
    assert shapes == [(1, 4, 4, 1)] * 2


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_a_range_for_every_point(method: str) -> None:
    ranges = observe(taps, samples(50), method=method)
    assert ranges.keys() == {"double", "negative"}
    assert 60 <= ranges["double"].max <= 98


def test_progress_counts_samples() -> None:
    counts: list[int] = []
    observe(taps, samples(3), on_progress=counts.append)
    assert counts == [1, 2, 3]


def test_unknown_method_and_no_samples() -> None:
    with pytest.raises(BadInputError, match="minmax, percentile, mse"):
        observe(taps, samples(1), method="entropy")
    with pytest.raises(BadInputError, match="no samples"):
        observe(taps, [])


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_an_activation_that_is_not_finite_names_point_and_sample(bad: float, word: str) -> None:
    def overflowing(batch: Sample) -> dict[str, np.ndarray]:
        return {"scores": np.where(batch["input"] == 2, np.float32(bad), batch["input"])}

    with pytest.raises(BadInputError, match="scores") as caught:
        observe(overflowing, samples(5))
    assert "sample 2" in str(caught.value)
    assert word in str(caught.value)


@pytest.mark.parametrize("method", METHODS)
def test_a_range_that_is_too_wide_names_its_point(method: str) -> None:
    with pytest.raises(BadInputError, match=r"'growing'(.|\n)*1e\+09"):
        observe(lambda batch: {"growing": batch["input"] * np.float32(1e12)}, samples(3), method=method)


def test_a_model_without_points_is_not_told_to_lack_samples() -> None:
    with pytest.raises(BadInputError, match="quantisation point"):
        observe(lambda batch: {}, samples(3))


def test_points_that_come_and_go_are_an_error() -> None:
    def changing(batch: Sample) -> dict[str, np.ndarray]:
        return {"a": batch["input"]} | ({"late": batch["input"]} if batch["input"].max() else {})

    with pytest.raises(BadInputError, match="late"):
        observe(changing, samples(2))


@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow_with_the_number_of_samples(method: str) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            observe(taps, samples(count, size=64), method=method)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what NumPy caches on first use
    assert peak(300) <= peak(3) + 64 * 64 * 4  # less than one more sample
