"""Which samples calibrate and which prove; where the ranges come from."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from perceiver_edge.calibration import ArraySource, Part, Ranges, SampleSource, as_source, open_source, split
from perceiver_edge.calibration.partition import draw, find
from perceiver_edge.compiler.labels import label_samples
from perceiver_edge.compiler.resolve import NamedModel
from perceiver_edge.data import load_digits
from perceiver_edge.errors import BadInputError, option
from perceiver_edge.files.reading import MOST_TEXT_BYTES, read_file
from perceiver_edge.proof.held_out import DIGITS_TEST, UNTRAINED

NUM_CALIBRATION = 128
NUM_HELD_OUT = 64
"""Enough that one differing prediction does not decide the top-1 gate alone (1/64 < 3 %)."""


def choose_samples(
    model: NamedModel,
    data: object,
    *,
    num_calibration: int,
    num_held_out: int | None,
    seed: int,
    exclude: Collection[bytes] = (),
    labels: str | os.PathLike[str] | None = None,
    held_out_data: object = None,
) -> tuple[Part, Part]:
    """(calibration, held out), disjoint in content; their labels are numbers of the model's classes.

    Args:
        data: what `open_source` opens if it is text or a path, arrays or an iterable of samples otherwise, or None
            for the model's embedded data.
        num_held_out: None means `NUM_HELD_OUT`, or all there are for embedded data.
        exclude: digests of the samples that an earlier calibration saw. None of them is held out; they are what
            calibrates, as far as ``data`` still has them.
        labels: a file with the right classes of ``data``.
        held_out_data: as ``data``, to prove with; ``data`` then only calibrates.

    Raises:
        BadInputError: a model without embedded data and no ``data``; too few or unusable samples.
    """
    calibration: SampleSource | None = None
    if data is None and labels is not None:
        raise BadInputError(
            f"{option('labels')} is for samples of your own.", expected=f"{option('samples')} with it", got="none"
        )
    if data is None:
        calibration, test = _embedded(model)
        source: SampleSource = test
        count = num_held_out or len(test)
    else:
        source = _source(model, data, seed)
        count = num_held_out or NUM_HELD_OUT
        label_samples(source, model.checkpoint, labels)
    if held_out_data is not None:
        drawn_from = calibration or source
        if exclude:
            seen = find(drawn_from, exclude, seed=seed, asked_before=num_calibration + count)
        else:
            seen = draw(drawn_from, num_calibration, seed=seed)
        apart = _source(model, held_out_data, seed)
        label_samples(apart, model.checkpoint, None)
        apart.description += UNTRAINED
        excluded = exclude or seen.digests.values()
        return seen, _unseen(apart, num_held_out or NUM_HELD_OUT, seed, {*excluded}, num_calibration)
    if exclude:
        seen = find(calibration or source, exclude, seed=seed, asked_before=num_calibration + count)
        return seen, _unseen(source, count, seed, exclude, num_calibration)
    if calibration is not None:
        return draw(calibration, num_calibration, seed=seed), draw(source, count, seed=seed)
    return split(source, num_calibration=num_calibration, num_held_out=count, seed=seed)


def _unseen(
    source: SampleSource, count: int, seed: int, exclude: Collection[bytes], num_calibration: int
) -> Part:  # fmt: skip
    unseen = draw(source, count, seed=seed, exclude=exclude, asked_before=num_calibration)
    if len(unseen) < 2:
        raise BadInputError(
            "There are too few samples to prove with that the calibration has not seen.",
            expected="at least 2 different samples that are not among those of the calibration",
            got=len(unseen), where=source.description, fix="pass more samples",
        )  # fmt: skip
    return unseen


def _embedded(model: NamedModel) -> tuple[ArraySource, ArraySource]:
    """The splits to calibrate and to prove with."""
    if not model.is_digits:
        raise BadInputError(
            f"The model {model.name!r} has no embedded data to calibrate and prove with.",
            expected="representative samples",
            fix=f"pass {option('samples')}: a folder of pictures, a .npy or .npz file, or package.module:function "
            "('random' works too, and is stamped on everything that it touches)",
        )
    digits = load_digits()
    calibration, test = (
        ArraySource({"input": part.images}, shape=model.sample_shape, labels=part.labels, description=description)
        for part, description in (
            (digits.calibration, "the digits' calibration split"),
            (digits.test, DIGITS_TEST),
        )
    )
    return calibration, test


def _source(model: NamedModel, data: object, seed: int) -> SampleSource:
    if not isinstance(data, str | os.PathLike):
        return as_source(
            data, shape=model.sample_shape, vocabulary=model.checkpoint.config.vocabulary, beside=model.beside
        )  # fmt: skip
    spec = model.input_spec
    return open_source(
        os.fspath(data), shape=model.sample_shape, image_mean=spec.mean, image_std=spec.std,
        resize=spec.resize or "cover", seed=seed, vocabulary=model.checkpoint.config.vocabulary,
        beside=model.beside,
    )  # fmt: skip


def read_ranges(calibration: Ranges | str | os.PathLike[str], model: NamedModel) -> Ranges:
    """Ranges given by the user, of this very model.

    Raises:
        BadInputError: unreadable, or made for another model.
    """
    if not isinstance(calibration, Ranges):
        path = Path(calibration)
        content = read_file(path, most_bytes=MOST_TEXT_BYTES, what="The calibration file")
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise BadInputError(
                "The calibration file cannot be read.", expected="a calibration.json", got=error, where=path
            ) from error
        calibration = Ranges.from_json(text, where=path)
    calibration.require_model(model.fingerprint)
    return calibration
