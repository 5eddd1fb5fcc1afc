"""Samples from arrays, sequences and functions: what Python code passes, and what files are read into."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.calibration.samples import (
    INPUT,
    MASK,
    NOTHING,
    Beside,
    IndexedSource,
    Sample,
    SampleSource,
    check_form,
    check_names,
    check_sample,
    mask_shape,
    sample_digest,
)
from perceiver_edge.calibration.tensors import TorchSamples, as_numpy, is_a, loaded_indices, single_items
from perceiver_edge.errors import BadInputError, PerceiverEdgeError


@contextmanager
def _users_code(where: str, *, expected: str) -> Iterator[None]:
    """Whatever fails in a user's own code is an error of the samples."""
    try:
        yield
    except PerceiverEdgeError:
        raise
    except Exception as error:
        raise BadInputError(
            "The samples cannot be read: their source failed.", expected=expected, got=repr(error), where=where
        ) from error


class SupportsIndexing(Protocol):
    """A sequence, as far as it is needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class ArraySource(IndexedSource):
    """Samples along the first dimension of arrays, which may be memory-mapped: only rows that are asked for are read.

    Args:
        arrays: [n, *shape] and optionally a mask [n, *axes], by input name.
        shape: of one sample, [*axes, channels]. ``beside``: of the other inputs.
        labels: integers [n].

    Raises:
        BadInputError: wrong names, dtypes, shapes or lengths, or no samples.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        *,
        shape: tuple[int, ...],
        labels: NDArray[Any] | None = None,
        description: str = "arrays",
        vocabulary: int | None = None,
        beside: Beside = NOTHING,
    ) -> None:
        super().__init__(description)
        check_names(arrays, where=description, beside=beside)
        by_sample = arrays if labels is None else {**arrays, "labels": labels}
        lengths = {name: len(array) if array.ndim else 0 for name, array in by_sample.items()}
        if len(set(lengths.values())) != 1:
            raise BadInputError("The arrays differ in their number of samples.", got=lengths, where=description)
        if 0 in lengths.values():
            raise no_samples(description)
        for name, array in arrays.items():
            single = mask_shape(shape, vocabulary) if name == MASK else beside.get(name, shape)
            check_form(
                name, array.dtype, array.shape[1:], expected=single, where=description, count=len(array),
                vocabulary=None if name in beside else vocabulary,
            )  # fmt: skip
        if labels is not None:
            if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
                raise BadInputError(
                    "The labels are not usable.",
                    expected="integers [n]",
                    got=f"{labels.dtype} {list(labels.shape)}",
                    where=description,
                )
            self.labels = labels.astype(np.int64)
        self._arrays, self._shape, self._vocabulary, self._beside = arrays, shape, vocabulary, beside

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    def __getitem__(self, index: int) -> Sample:
        row = {name: array[index] for name, array in self._arrays.items()}
        where = f"{self.description}, sample {index}"
        return check_sample(
            row, shape=self._shape, where=where, vocabulary=self._vocabulary, beside=self._beside
        )  # fmt: skip


class SequenceSource(IndexedSource):
    """Samples in a list or another sequence: arrays, mappings by input name, or pairs of one of these and a label."""

    def __init__(
        self,
        items: SupportsIndexing,
        *,
        shape: tuple[int, ...],
        description: str = "samples",
        vocabulary: int | None = None,
        beside: Beside = NOTHING,
    ) -> None:
        super().__init__(description)
        with _users_code(self.description, expected="how many items there are"):
            self._count = len(items)
        if not self._count:
            raise no_samples(description)
        self._items, self._shape, self._vocabulary, self._beside = items, shape, vocabulary, beside

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        with _users_code(f"{self.description}, sample {index}", expected="items 0 to len() - 1"):
            item = self._items[index]
        return self._sample(item, index, self._shape, self._vocabulary, self._beside)


class StreamSource(SampleSource):
    """Samples that ``factory`` yields one after the other, called again for every pass. It may never end."""

    def __init__(
        self,
        factory: Callable[[], Iterable[Any]],
        *,
        shape: tuple[int, ...],
        description: str = "samples",
        is_random: bool = False,
        vocabulary: int | None = None,
        beside: Beside = NOTHING,
    ) -> None:
        super().__init__(description)
        self._factory, self._shape, self.is_random = factory, shape, is_random
        self._vocabulary, self._beside = vocabulary, beside

    def __iter__(self) -> Iterator[Sample]:
        names: set[str] = set()
        for index, values in enumerate(self._values()):
            sample = self._sample(values, index, self._shape, self._vocabulary, self._beside)
            names = names or set(sample)
            if set(sample) != names:
                raise BadInputError(
                    "Samples differ in their inputs.", expected=sorted(names), got=sorted(sample),
                    where=f"{self.description}, sample {index}",
                )  # fmt: skip
            yield sample
        if not names:
            raise no_samples(self.description)

    def digests(self, rng: np.random.Generator) -> Iterator[tuple[int, bytes]]:
        return ((index, sample_digest(sample)) for index, sample in enumerate(self))

    def pick(self, digests: Mapping[int, bytes]) -> Iterator[Sample]:
        last = max(digests, default=-1)
        found = 0
        for index, sample in enumerate(itertools.islice(self, last + 1)):
            if index not in digests:
                continue
            if sample_digest(sample) != digests[index]:
                raise self._not_repeatable(f"another sample {index} than the first time")
            found += 1
            yield sample
        if found < len(digests):
            raise self._not_repeatable("fewer samples than the first time")

    def _not_repeatable(self, got: str) -> BadInputError:
        # Otherwise a sample that was calibrated with could be held out on the next pass.
        return BadInputError(
            "The samples are not the same on every pass.",
            expected="the same samples in the same order on every call",
            got=got,
            where=self.description,
            fix="Seed whatever is random in the function; a DataLoader needs shuffle=False, and shuffle() of tf.data "
            "reshuffle_each_iteration=False.",
        )

    def _values(self) -> Iterator[Any]:
        expected = "an iterable of arrays, or of mappings by input name"
        with _users_code(f"{self.description}, sample 0", expected=expected):
            values = iter(self._factory())
        for index in itertools.count():
            with _users_code(f"{self.description}, sample {index}", expected=expected):
                try:
                    value = next(values)
                except StopIteration:
                    return
            yield value


def as_source(
    samples: Any, *, shape: tuple[int, ...], vocabulary: int | None = None, beside: Beside = NOTHING
) -> SampleSource:
    """A source of what Python code has at hand.

    Args:
        samples: a `SampleSource`; an array or tensor [n, *shape]; a mapping by input name of arrays, or of what NumPy
            makes arrays of, optionally with ``labels`` [n]; a sequence of samples; a function that returns an iterable
            of samples and is called for every pass; a ``Dataset`` or ``DataLoader`` of PyTorch's, or a
            ``tf.data.Dataset``. A sample is an array, a mapping by input name, or one of these and its label.
        shape: of one sample, [*axes, channels].
        vocabulary: how many different integers the input is made of; None for numbers.
        beside: shapes of the other inputs.

    Raises:
        BadInputError: none of these, for example an iterator that can be read only once.
    """
    if (source := _library_source(samples, shape, vocabulary, beside)) is not None:
        return source
    if isinstance(samples, np.ndarray):
        samples = {INPUT: samples}
    if isinstance(samples, Mapping):
        arrays = {name: _as_array(name, values) for name, values in samples.items()}
        labels = arrays.pop("labels", None)
        return ArraySource(arrays, shape=shape, labels=labels, vocabulary=vocabulary, beside=beside)
    if isinstance(samples, SampleSource):
        return samples
    if callable(samples):
        return StreamSource(samples, shape=shape, vocabulary=vocabulary, beside=beside)
    if isinstance(samples, Sequence) and not isinstance(samples, str):
        return SequenceSource(samples, shape=shape, vocabulary=vocabulary, beside=beside)
    if isinstance(samples, Iterable) and not isinstance(samples, Iterator | str):
        return StreamSource(lambda: samples, shape=shape, vocabulary=vocabulary, beside=beside)
    raise BadInputError(
        "The samples are not usable.",
        expected="an array, a mapping of arrays, a sequence, or a function that returns an iterable",
        got=type(samples).__name__,
        fix="An iterator can be read only once: pass the function that makes it.",
    )


def _library_source(
    samples: Any, shape: tuple[int, ...], vocabulary: int | None, beside: Beside
) -> SampleSource | None:
    """What PyTorch and TensorFlow keep samples in; None for anything else."""

    def stream(description: str) -> SampleSource:
        return StreamSource(
            lambda: single_items(samples, shape), shape=shape, description=description, vocabulary=vocabulary,
            beside=beside,
        )  # fmt: skip

    name = type(samples).__name__
    if is_a(samples, "torch", "Tensor") or is_a(samples, "tensorflow", "Tensor"):
        values = _as_array(INPUT, samples)
        moved = np.moveaxis(values, 1, -1) if values.ndim == len(shape) + 1 > 2 else values
        fits_moved = values.shape[1:] != shape and moved.shape[1:] == shape
        arrays = {INPUT: moved if fits_moved else values}
        return ArraySource(arrays, shape=shape, description=f"a {name}", vocabulary=vocabulary, beside=beside)
    indices = None
    if is_a(samples, "torch.utils.data", "DataLoader"):
        with _users_code("the sampler of a DataLoader", expected="the numbers of items"):
            indices = loaded_indices(samples)
        if indices is None:
            return stream("a DataLoader")
        samples, name = samples.dataset, type(samples.dataset).__name__  # each sample once, in any order, unbatched
    if is_a(samples, "torch.utils.data", "Dataset"):
        if is_a(samples, "torch.utils.data", "IterableDataset"):
            return stream(name)
        with _users_code(name, expected="how many items there are"):
            items = TorchSamples(samples, shape, indices)
        return SequenceSource(items, shape=shape, description=name, vocabulary=vocabulary, beside=beside)
    return stream("a tf.data.Dataset") if is_a(samples, "tensorflow", "DatasetV2") else None


def _as_array(name: str, values: object) -> NDArray[Any]:
    try:
        return np.asarray(as_numpy(values))
    except Exception as error:  # a ragged list, or a tensor that refuses
        raise BadInputError("The samples are not an array.", got=error, where=f"{name!r}") from error


def no_samples(description: str) -> BadInputError:
    return BadInputError("There are no samples.", expected="at least one sample", where=description)
