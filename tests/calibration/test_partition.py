"""split(): disjoint in content, seeded, sensible with few samples, lazy."""

import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge.calibration import Part, SampleSource, as_source, open_source, split
from perceiver_edge.calibration.memory import StreamSource
from perceiver_edge.calibration.partition import draw, find
from perceiver_edge.errors import BadInputError

SHAPE = (2, 2, 1)


def numbered(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32)[:, None, None, None] * np.ones(SHAPE, np.float32)


def indexed(count: int) -> SampleSource:
    return as_source({"input": numbered(count), "labels": np.arange(count)}, shape=SHAPE)


def stream(count: int) -> SampleSource:
    return as_source(lambda: iter(numbered(count)), shape=SHAPE)


def numbers(part: Part) -> list[int]:
    return [int(sample["input"].max()) for sample in part]


@pytest.mark.parametrize("make", [indexed, stream])
@pytest.mark.parametrize("seed", range(5))
def test_the_sides_are_disjoint_and_of_the_size_asked_for(make, seed: int) -> None:
    calibration, held_out = split(make(50), num_calibration=20, num_held_out=10, seed=seed)
    assert (len(calibration), len(held_out)) == (20, 10)
    assert len(set(numbers(calibration))) == 20
    assert len(set(numbers(held_out))) == 10
    assert not set(numbers(calibration)) & set(numbers(held_out))


@pytest.mark.parametrize("make", [indexed, stream])
def test_the_seed_decides(make) -> None:
    def chosen(seed: int) -> list[list[int]]:
        return [numbers(part) for part in split(make(40), num_calibration=15, num_held_out=15, seed=seed)]

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)


def test_an_indexed_source_is_drawn_from_all_over() -> None:
    calibration, _ = split(indexed(1000), num_calibration=20, num_held_out=5, seed=0)
    assert max(numbers(calibration)) > 500


def test_labels_follow_their_samples() -> None:
    for part in split(indexed(30), num_calibration=10, num_held_out=10, seed=0):
        assert part.labels is not None
        assert part.labels.tolist() == numbers(part)


@pytest.mark.parametrize("make", [indexed, stream])
@pytest.mark.parametrize(("available", "sizes"), [(2, (1, 1)), (3, (2, 1)), (9, (6, 3)), (30, (20, 10))])
def test_too_few_are_divided_in_proportion(make, available: int, sizes: tuple[int, int]) -> None:
    calibration, held_out = split(make(available), num_calibration=20, num_held_out=10, seed=0)
    assert (len(calibration), len(held_out)) == sizes


@pytest.mark.parametrize(("asked", "sizes"), [((1, 100), (1, 2)), ((100, 1), (2, 1))])
def test_neither_side_is_left_empty(asked: tuple[int, int], sizes: tuple[int, int]) -> None:
    calibration, held_out = split(indexed(3), num_calibration=asked[0], num_held_out=asked[1], seed=0)
    assert (len(calibration), len(held_out)) == sizes


@pytest.mark.parametrize("make", [indexed, stream])
def test_a_part_is_read_in_the_order_of_the_source(make) -> None:
    for part in split(make(30), num_calibration=10, num_held_out=10, seed=0):
        assert numbers(part) == sorted(numbers(part))


@pytest.mark.parametrize("make", [indexed, stream])
def test_one_sample_cannot_be_split(make) -> None:
    with pytest.raises(BadInputError, match="too few"):
        split(make(1), num_calibration=4, num_held_out=4, seed=0)


@pytest.mark.parametrize("wrong", [{"num_calibration": 0}, {"num_held_out": 0}, {"seed": -1}])
def test_sizes_and_seed_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        split(indexed(9), **({"num_calibration": 4, "num_held_out": 4, "seed": 0} | wrong))


@pytest.mark.parametrize("as_stream", [False, True])
def test_equal_content_is_used_once(as_stream: bool) -> None:
    values = np.concatenate([numbered(6)] * 3)
    source = as_source((lambda: iter(values)) if as_stream else values, shape=SHAPE)
    calibration, held_out = split(source, num_calibration=10, num_held_out=8, seed=0)
    assert sorted(numbers(calibration) + numbers(held_out)) == list(range(6))


@pytest.mark.parametrize("make", [indexed, stream])
def test_what_is_excluded_is_not_drawn_whatever_the_seed(make) -> None:
    calibration, _ = split(make(50), num_calibration=20, num_held_out=10, seed=0)
    for seed in range(3):
        drawn = draw(make(50), 40, seed=seed, exclude=calibration.digests.values())
        assert sorted(numbers(calibration) + numbers(drawn)) == list(range(50))


@pytest.mark.parametrize("make", [indexed, stream])
def test_with_the_seed_of_the_split_its_held_out_samples_are_drawn_again(make) -> None:
    calibration, held_out = split(make(50), num_calibration=20, num_held_out=10, seed=3)
    assert numbers(draw(make(50), 10, seed=3, exclude=calibration.digests.values())) == numbers(held_out)


def test_content_is_recognised_in_another_kind_of_source(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for index in range(4):
        image.new("L", (2, 2), index * 51).save(tmp_path / f"{index}.png")
    picture, _ = split(open_source(str(tmp_path), shape=SHAPE), num_calibration=1, num_held_out=3, seed=0)
    values = numbered(4) * np.float32(51) / np.float32(255)
    for form in (values, lambda: iter(values), [{"input": value} for value in values]):
        assert len(draw(as_source(form, shape=SHAPE), 9, seed=0, exclude=picture.digests.values())) == 3


@pytest.mark.parametrize("make", [indexed, stream])
def test_a_part_may_be_empty(make) -> None:
    everything = draw(make(3), 3, seed=0)
    part = draw(make(3), 3, seed=0, exclude=everything.digests.values())
    assert (len(part), list(part)) == (0, [])


def test_copies_of_a_picture_do_not_stand_on_both_sides(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for index in range(3):
        image.new("L", (2, 2), index * 50).save(tmp_path / f"{index}.png")
        (tmp_path / f"copy of {index}.png").write_bytes((tmp_path / f"{index}.png").read_bytes())
    source = open_source(str(tmp_path), shape=SHAPE)
    calibration, held_out = split(source, num_calibration=3, num_held_out=3, seed=0)
    assert len(calibration) + len(held_out) == 3


def test_an_endless_stream_ends() -> None:
    random, _ = split(open_source("random", shape=SHAPE), num_calibration=5, num_held_out=5, seed=0)
    assert len(list(random)) == 5
    cycle = as_source(lambda: itertools.cycle(numbered(4)), shape=SHAPE)
    calibration, held_out = split(cycle, num_calibration=8, num_held_out=8, seed=0)
    assert len(calibration) + len(held_out) == 4


def test_a_stream_that_changes_between_passes_is_an_error() -> None:
    rng = np.random.default_rng()
    unseeded = as_source(lambda: (rng.random(SHAPE, np.float32) for _ in range(9)), shape=SHAPE)
    calibration, _ = split(unseeded, num_calibration=4, num_held_out=4, seed=0)
    with pytest.raises(BadInputError, match="not the same on every pass"):
        list(calibration)


def test_a_stream_that_gets_shorter_is_an_error() -> None:
    lengths = iter([9, 2])
    calibration, _ = split(
        as_source(lambda: iter(numbered(next(lengths))), shape=SHAPE), num_calibration=8, num_held_out=1, seed=0
    )
    with pytest.raises(BadInputError, match="fewer samples"):
        list(calibration)


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    shape = (64, 64, 3)
    sample_bytes = 64 * 64 * 3 * 4

    def peak(count: int) -> int:
        def generate() -> Iterator[np.ndarray]:
            return (np.full(shape, index, np.float32) for index in range(2 * count))

        tracemalloc.start()
        try:
            for part in split(StreamSource(generate, shape=shape), num_calibration=count, num_held_out=count, seed=0):
                assert sum(1 for _ in part) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)
    # 190 times the samples: a digest each and no sample kept.
    assert peak(400) <= peak(2) + 4 * sample_bytes


@pytest.mark.parametrize("as_stream", [False, True])
def test_what_was_drawn_from_many_repeated_samples_is_found_and_left_out_again(as_stream: bool) -> None:
    values = numbered(3000)
    values[np.arange(3000) % 30 != 0] = 0
    source = as_source((lambda: iter(values)) if as_stream else values, shape=SHAPE)
    calibration, held_out = split(source, num_calibration=20, num_held_out=10, seed=0)
    assert len(calibration) < 20  # 300 samples were looked at, and most repeat another one
    digests = calibration.digests.values()
    assert find(source, digests, seed=0, asked_before=30).digests == calibration.digests
    assert draw(source, 10, seed=0, exclude=digests, asked_before=20).digests.keys() >= held_out.digests.keys()
