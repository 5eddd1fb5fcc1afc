"""One sample, and what a source of samples is."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.calibration.labels import take_label
from perceiver_edge.calibration.tensors import as_numpy
from perceiver_edge.errors import BadInputError, option, printable

Sample = dict[str, NDArray[Any]]
"""``input`` float32 [*axes, channels], optionally ``mask`` bool [*axes] (True is attended to); no batch dimension.

A model of several inputs has the others beside it, float32, by their names."""

Beside = Mapping[str, tuple[int, ...]]
"""The shapes of a model's other inputs, [*axes, channels], by name."""

INPUT, MASK = "input", "mask"
DIGEST_BYTES = 16


class Samples(Protocol):
    """What calibration and parity read from: can be iterated again and again, holds one sample at a time."""

    @property
    def description(self) -> str: ...

    @property
    def is_random(self) -> bool:
        """True if these are random numbers, asked for by name."""

    @property
    def are_pictures(self) -> bool:
        """True if these are picture files, which become samples by a normalisation that somebody has to declare."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader of results must know of these samples, a sentence each: what was left out, for example."""

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """The right class of each sample, int64 [n] in the order of iteration, where it is known."""

    @property
    def digests(self) -> Mapping[int, bytes]:
        """What `sample_digest` gives for each, by its index in the source."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]: ...


class SampleSource(ABC):
    """Where samples come from. Every sample is checked when it is read; errors name the source and the sample."""

    is_random = False
    are_pictures = False
    labels: NDArray[np.int64] | None = None
    notices: tuple[str, ...] = ()

    label_names: tuple[str, ...] | None = None
    """What the classes that `labels` number are called, where the source names them."""
    keys: Sequence[str] | None = None
    """What each sample is called, such as a picture's path in its folder."""

    def __init__(self, description: str) -> None:
        self.description = printable(description)
        self._label_read: dict[int, int | None] = {}

    def labels_of(self, indices: Sequence[int]) -> NDArray[np.int64] | None:
        """The right classes of samples that were read, int64 [n]; None where they are not known.

        Raises:
            BadInputError: known of some only.
        """
        if self.labels is not None:
            if max(indices, default=-1) >= len(self.labels):
                raise BadInputError(
                    "There are fewer labels than samples.", expected=f"more than {max(indices)}", got=len(self.labels),
                    where=self.description,
                )  # fmt: skip
            return self.labels[list(indices)]
        labels = [self._label_read.get(index) for index in indices]
        known = [label for label in labels if label is not None]
        if known and len(known) < len(labels):
            raise BadInputError(
                "Some samples have a label, others have none.", got=f"none: sample {indices[labels.index(None)]}",
                where=self.description,
            )  # fmt: skip
        return np.array(known, np.int64) if known else None

    def _sample(
        self, item: object, index: int, shape: tuple[int, ...], vocabulary: int | None, beside: Beside
    ) -> Sample:
        """One sample of what a user's code gave for it; the label that came with it is kept."""
        where = f"{self.description}, sample {index}"
        values, self._label_read[index] = take_label(item, where=where)
        return check_sample(values, shape=shape, where=where, vocabulary=vocabulary, beside=beside)

    @abstractmethod
    def __iter__(self) -> Iterator[Sample]:
        """All samples, from the first. Raises BadInputError for an unusable one, or if there are none."""

    @abstractmethod
    def digests(self, rng: np.random.Generator) -> Iterator[tuple[int, bytes]]:
        """(index, `sample_digest`) of each sample, in the order to choose from."""

    @abstractmethod
    def pick(self, digests: Mapping[int, bytes]) -> Iterator[Sample]:
        """The samples with these indices (ascending) and digests."""


class IndexedSource(SampleSource):
    """A source that can read its samples in any order, and so draws them at random."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def digests(self, rng: np.random.Generator) -> Iterator[tuple[int, bytes]]:
        return ((int(index), sample_digest(self[int(index)])) for index in rng.permutation(len(self)))

    def pick(self, digests: Mapping[int, bytes]) -> Iterator[Sample]:
        for index, digest in digests.items():
            sample = self[index]
            if sample_digest(sample) != digest:  # what is cached under this digest must be of this content
                raise BadInputError(
                    "A sample has changed since it was first read.",
                    expected="the same samples for as long as they are in use",
                    where=f"{self.description}, sample {index}", fix="run again",
                )  # fmt: skip
            yield sample


def sample_digest(sample: Sample) -> bytes:
    """16 bytes that are equal for equal content, whatever file or function a sample comes from."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name in sorted(sample):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(sample[name]).data)
    return digest.digest()


NOTHING: Beside = {}


def check_sample(
    values: object,
    *,
    shape: tuple[int, ...],
    where: str,
    vocabulary: int | None = None,
    beside: Beside = NOTHING,
) -> Sample:
    """Make a `Sample` of an array or of a mapping by input name, cast to float32, or to int32 for a ``vocabulary``.

    Raises:
        BadInputError: not an array, an unknown or missing input, a wrong dtype or shape, NaN or infinity, or an
            integer outside of the vocabulary.
    """
    given = values if isinstance(values, Mapping) else {INPUT: values}
    check_names(given, where=where, beside=beside)
    return {
        name: _check_array(
            name, value, shape=beside.get(name, shape), where=where, vocabulary=None if name in beside else vocabulary
        )
        for name, value in given.items()
    }


def check_names(names: Mapping[str, object], *, where: str, beside: Beside = NOTHING) -> None:
    """Raises BadInputError unless there are `INPUT` and all ``beside`` it, and at most a `MASK` besides."""
    if not {INPUT, *beside} <= set(names) <= {INPUT, MASK, *beside}:
        raise BadInputError(
            "The names of the inputs are not the model's.",
            expected=f"{', '.join(map(repr, (INPUT, *beside)))}, and {MASK!r} if there is one",
            got=", ".join(map(repr, names)) or "none",
            where=where,
        )


def _reshaping(shape: tuple[int, ...], expected: tuple[int, ...]) -> str | None:
    """What makes one shape of the other; None where nothing is likely."""
    if len(shape) > 1 and (*shape[1:], shape[0]) == expected:
        return "move the channels to the end: np.moveaxis(sample, 0, -1)"
    if (*shape, 1) == expected:
        return "add the axis of the one channel: sample[..., np.newaxis]"
    if len(shape) == len(expected) > 1 and shape[-1] == expected[-1]:
        return f"bring the samples to that size, or compile for theirs: {option('input_shape', shape[:-1])}"
    return None


def check_form(
    name: str,
    dtype: np.dtype,
    shape: tuple[int, ...],
    *,
    expected: tuple[int, ...],
    where: str,
    vocabulary: int | None = None,
    count: int | None = None,
) -> None:
    """Raises BadInputError unless an array of ``dtype`` and ``shape`` can be the input ``name``.

    ``vocabulary``: how many different integers the input is made of; None for numbers. ``count``: of samples in an
    array of many, for the message; ``shape`` is that of one of them all the same.
    """
    where = f"{where}, input {name!r}"
    if shape != expected:
        many = [] if count is None else [count]
        raise BadInputError(
            "A sample has the wrong shape.",
            got=[*many, *shape],
            where=where,
            expected=f"{[*many, *expected]}{'' if vocabulary else ', channels last'}",
            fix=_reshaping(shape, expected),
        )
    if name == MASK:
        if dtype != np.bool_:
            raise BadInputError("A mask has the wrong dtype.", expected="bool", got=dtype, where=where)
    elif vocabulary is not None:
        if not np.issubdtype(dtype, np.integer):
            raise BadInputError(
                "A sample has the wrong dtype.", expected="integers, as the model's tokenizer makes them", got=dtype,
                where=where,
            )  # fmt: skip
    elif not np.issubdtype(dtype, np.floating):
        raise BadInputError(
            "A sample has the wrong dtype.",
            expected="floating point, scaled as in training",
            got=dtype,
            where=where,
            fix="Scale it yourself, for example (pixels / 255 - mean) / std as float32: nothing is scaled silently.",
        )


def mask_shape(shape: tuple[int, ...], vocabulary: int | None) -> tuple[int, ...]:
    """Of the mask of a sample of this shape: integers have no channels."""
    return shape[:-1] if vocabulary is None else shape


def _check_array(
    name: str, value: object, *, shape: tuple[int, ...], where: str, vocabulary: int | None
) -> NDArray[Any]:
    try:
        array = np.asarray(as_numpy(value))
    except Exception as error:  # a ragged list, or a tensor that refuses
        raise BadInputError("A sample is not an array.", got=error, where=f"{where}, input {name!r}") from error
    expected = mask_shape(shape, vocabulary) if name == MASK else shape
    check_form(name, array.dtype, array.shape, expected=expected, where=where, vocabulary=vocabulary)
    # Copied, because whoever yields samples may fill the same memory with the next one.
    if name == MASK:
        return array.copy()
    if vocabulary is not None:
        if array.min() < 0 or array.max() >= vocabulary:
            raise BadInputError(
                "A sample holds integers that the model has no row for.", expected=f"0 to {vocabulary - 1}",
                got=f"{array.min()} to {array.max()}", where=f"{where}, input {name!r}",
            )  # fmt: skip
        return array.astype(np.int32)
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise BadInputError(
            "A sample is not finite.",
            expected="finite float32 numbers",
            got="NaN" if np.isnan(array).any() else "infinity",
            where=f"{where}, input {name!r}",
        )
    return array
