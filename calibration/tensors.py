"""Tensors and data sets of PyTorch and TensorFlow as samples; neither library is imported for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np


def as_numpy(value: Any) -> Any:
    """A PyTorch tensor as an array, wherever it lies and whatever it is part of; anything else as it is.

    Half precision becomes float32, which holds each of its values.
    """
    if not is_a(value, "torch", "Tensor"):
        return value
    tensor = value.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).numpy()


def is_a(value: object, package: str, name: str) -> bool:
    """Whether a class called ``name`` of ``package`` is among those of ``value``."""
    return any(
        cls.__name__ == name and (cls.__module__ == package or cls.__module__.startswith(f"{package}."))
        for cls in type(value).__mro__
    )


class TorchSamples:
    """A map-style data set of PyTorch's, each item ``sample`` or ``(sample, label)``.

    Pictures have their channels first there, and last here: where only the former fits, they are moved.
    """

    def __init__(self, dataset: Any, shape: tuple[int, ...], indices: Sequence[int] | None = None) -> None:
        self._dataset, self._shape = dataset, shape
        self._indices = range(len(dataset)) if indices is None else indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Any:
        return channels_last(self._dataset[self._indices[index]], self._shape)


def loaded_indices(loader: Any) -> list[int] | None:
    """The items of its map-style data set that a DataLoader loads, ascending, each once.

    None where only the loader itself can say what it loads: it makes batches in its own way (``collate_fn``), its data
    set is a stream, or its sampler does not end.
    """
    is_plain = getattr(loader.collate_fn, "__name__", None) == "default_collate"
    if not is_plain or not callable(getattr(loader.dataset, "__len__", None)):
        return None
    batches = loader.batch_sampler
    is_own = not is_a(batches, "torch.utils.data", "BatchSampler")  # then the loader never asks its sampler
    sampler = batches if is_own else batches.sampler
    if not callable(getattr(sampler, "__len__", None)):
        return None
    taken = itertools.islice(sampler, len(sampler))
    return sorted({int(index) for index in (itertools.chain.from_iterable(taken) if is_own else taken)})


def channels_last(item: Any, shape: tuple[int, ...]) -> Any:
    """``item`` with the channels of its sample moved to the end, if that, and only that, makes it of ``shape``."""
    if isinstance(item, tuple | list) and len(item) == 2:
        return channels_last(item[0], shape), item[1]
    if isinstance(item, Mapping):
        return item
    array = np.asarray(as_numpy(item))
    moved = np.moveaxis(array, 0, -1) if array.ndim == len(shape) else array
    return moved if array.shape != shape and moved.shape == shape else array


def single_items(batches: Any, shape: tuple[int, ...]) -> Iterator[Any]:
    """Samples, with their labels, of what yields them one by one or in batches."""
    for item in batches:
        pair = tuple(item) if isinstance(item, tuple | list) and len(item) == 2 else (item, None)
        values, labels = (_arrays(part) for part in pair)
        first = values.get("input") if isinstance(values, dict) else values
        if first is None or first.ndim != len(shape) + 1:
            yield channels_last(values, shape) if labels is None else (channels_last(values, shape), labels)
            continue
        for index in range(len(first)):
            row = {name: rows[index] for name, rows in values.items()} if isinstance(values, dict) else values[index]
            row = channels_last(row, shape)
            yield row if labels is None else (row, labels[index])


def _arrays(part: Any) -> Any:
    if part is None:
        return None
    if isinstance(part, Mapping):
        return {name: np.asarray(as_numpy(value)) for name, value in part.items()}
    return np.asarray(as_numpy(part))
