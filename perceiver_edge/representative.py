"""Which samples calibrate and which prove; where the ranges come from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from perceiver_edge.calibration import ArraySource, Ranges, Samples, as_source, open_source, split
from perceiver_edge.data import Split, load_digits
from perceiver_edge.errors import BadInputError
from perceiver_edge.models import NamedModel

NUM_CALIBRATION = 128
NUM_HELD_OUT = 64
"""Enough that one differing prediction does not decide the top-1 gate alone (1/64 < 3 %)."""


def choose_samples(
    model: NamedModel, data: object, *, num_calibration: int, num_held_out: int | None, seed: int
) -> tuple[Samples, Samples]:
    """(calibration, held out), disjoint.

    Args:
        data: what `open_source` opens if it is text or a path, arrays or an iterable of samples otherwise, or None
            for the model's embedded data.
        num_held_out: None means `NUM_HELD_OUT`, or all there are for embedded data.

    Raises:
        BadInputError: a model without embedded data and no ``data``; too few or unusable samples.
    """
    if data is None:
        if not model.is_digits:
            raise BadInputError(
                f"The model {model.name!r} has no embedded data to calibrate and prove with.",
                expected="representative samples",
                fix="pass --calibration-data: a folder of pictures, a .npy or .npz file, or package.module:function "
                "('random' works too, and is stamped on everything that it touches)",
            )
        digits = load_digits()
        return (
            _some(digits.calibration, num_calibration, seed, model.sample_shape, "the digits' calibration split"),
            _some(
                digits.test, num_held_out or len(digits.test.labels), seed, model.sample_shape, "the digits' test split"
            ),
        )
    if isinstance(data, str | os.PathLike):
        spec = model.input_spec
        source = open_source(
            os.fspath(data), shape=model.sample_shape, image_mean=spec.image_mean, image_std=spec.image_std, seed=seed
        )
    else:
        source = as_source(data, shape=model.sample_shape)
    return split(source, num_calibration=num_calibration, num_held_out=num_held_out or NUM_HELD_OUT, seed=seed)


def _some(part: Split, count: int, seed: int, shape: tuple[int, ...], description: str) -> ArraySource:
    chosen = np.sort(np.random.default_rng(seed).permutation(len(part.labels))[:count])
    return ArraySource({"input": part.images[chosen]}, shape=shape, labels=part.labels[chosen], description=description)


def read_ranges(calibration: Ranges | str | os.PathLike[str], model: NamedModel) -> Ranges:
    """Ranges given by the user, of this very model.

    Raises:
        BadInputError: unreadable, or made for another model.
    """
    if not isinstance(calibration, Ranges):
        path = Path(calibration)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(
                "The calibration file cannot be read.", expected="a calibration.json", got=error, where=path
            ) from error
        calibration = Ranges.from_json(text, where=path)
    calibration.require_model(model.fingerprint)
    return calibration
