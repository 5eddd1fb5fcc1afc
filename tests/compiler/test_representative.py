"""Which samples calibrate and which prove, when a calibration is given and when not."""

import numpy as np
import pytest

from perceiver_edge.calibration import Part
from perceiver_edge.compiler.representative import choose_samples
from perceiver_edge.compiler.resolve import NamedModel, resolve_model
from perceiver_edge.errors import BadInputError


@pytest.fixture(scope="module")
def tiny() -> NamedModel:
    return resolve_model("tiny")


@pytest.fixture(scope="module")
def digits() -> NamedModel:
    return resolve_model("digits")


def values(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 16, 16, 3), np.float32)


def chosen(model: NamedModel, data: object, *, seed: int = 0, exclude: Part | None = None) -> tuple[Part, Part]:
    digests = frozenset(exclude.digests.values()) if exclude else ()
    return choose_samples(model, data, num_calibration=128, num_held_out=64, seed=seed, exclude=digests)


def contents(part: Part) -> set[bytes]:
    return {sample["input"].tobytes() for sample in part}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_another_seed_proves_with_nothing_that_an_earlier_calibration_saw(tiny, seed: int) -> None:
    calibrated, held_out = chosen(tiny, values(192))
    again, proving = chosen(tiny, values(192), seed=seed, exclude=calibrated)
    assert contents(again) == contents(calibrated)
    assert len(proving) == 64
    assert contents(proving) == contents(held_out)  # of 192 they are the only ones left


def test_other_data_has_none_of_what_an_earlier_calibration_saw(tiny) -> None:
    calibrated, _ = chosen(tiny, values(192))
    none, proving = chosen(tiny, values(192) + 1, exclude=calibrated)
    assert (len(none), len(proving)) == (0, 64)


def test_the_embedded_test_split_proves_nothing_that_it_calibrated(digits) -> None:
    _, test = choose_samples(digits, None, num_calibration=128, num_held_out=None, seed=0)
    calibrated, _ = choose_samples(
        digits, np.stack([s["input"] for s in test]), num_calibration=100, num_held_out=9, seed=0
    )
    _, proving = choose_samples(
        digits, None, num_calibration=128, num_held_out=None, seed=1, exclude=calibrated.digests.values()
    )
    assert len(proving) == len(test) - 100
    assert not contents(proving) & contents(calibrated)


def test_the_embedded_splits_are_used_whole(digits) -> None:
    calibrating, proving = choose_samples(digits, None, num_calibration=128, num_held_out=None, seed=0)
    assert (len(calibrating), len(proving), len(proving.labels)) == (128, 360, 360)
    assert not contents(calibrating) & contents(proving)


def test_nothing_left_to_prove_with_is_an_error(tiny) -> None:
    calibrated, held_out = chosen(tiny, values(192))
    known = np.stack([sample["input"] for sample in [*calibrated, next(iter(held_out))]])
    with pytest.raises(BadInputError, match="that the calibration has not seen"):
        chosen(tiny, known, exclude=calibrated)
