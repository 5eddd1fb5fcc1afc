"""What the products inside of an artefact give, read with `runtime.probe`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from perceiver_edge.converters.points import observable_outputs, output_tensor
from perceiver_edge.proof.held_out import HeldOut
from perceiver_edge.proof.layers import OUTPUT, ExpectLayers, own_errors
from perceiver_edge.runtime import probe

LAYER_SAMPLES = 4
"""Held-out samples that errors by layer are measured on: enough to rank layers, and probing is slow."""

LAYER_ROWS = 32
"""Rows (latents, or tokens) of each layer's output that its error is measured on, evenly spaced, per sample. All of
them would be 1.5 GB a sample for the paper's model."""

OWN_SAMPLES = 32
OWN_VALUES = 1 << 22
"""Samples that each layer is held to the model of its integers on, and the values that they may be in all; one run of
the artefact at least. A layer of few rows needs many samples, lest one step of int8 be a large share of its output."""


@dataclass(frozen=True, kw_only=True)
class Inside:
    """``rows``: each site's output for the first `LAYER_SAMPLES` samples, ``[samples * rows, channels]``.

    ``own_errors``: see `layers.own_errors`; empty where nothing was expected.
    """

    rows: dict[str, np.ndarray]
    own_errors: dict[str, float]


def look_inside(
    model: bytes, held_out: HeldOut, *, batch_size: int, expect: ExpectLayers | None = None, threads: int | None = None
) -> Inside:
    """Read the outputs of all sites. ``batch_size``: of the artefact."""
    rows: dict[str, list[np.ndarray]] = {}
    whole: list[Mapping[str, np.ndarray]] = []
    for start, given in _runs(model, held_out, batch_size=batch_size, threads=threads):
        left = min(LAYER_SAMPLES, len(held_out)) - start
        for name in given.keys() - {OUTPUT} if left > 0 else ():
            samples = given[name].reshape(batch_size, -1, given[name].shape[-1])
            rows.setdefault(name, []).extend(map(_some_rows, samples[:left]))
        if expect is not None and _has_room(whole, given, batch_size):
            whole.append(given)
        elif left <= batch_size:
            break
    joined = {name: np.concatenate(parts) for name, parts in rows.items()}
    if expect is None:
        return Inside(rows=joined, own_errors={})
    feeds = held_out.batch(0, len(whole) * batch_size)
    all_given = {name: np.concatenate([given[name] for given in whole]) for name in whole[0]}
    return Inside(rows=joined, own_errors=own_errors(expect(feeds, all_given, len(whole))))


def layer_reference(
    taps: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]], held_out: HeldOut
) -> dict[str, np.ndarray]:
    """The float model's site outputs for the samples that `Inside.rows` are of, in order of execution.

    Args:
        taps: feeds of batch 1 → activations by quantisation point.
    """
    collected: dict[str, list[np.ndarray]] = {}
    for index in range(min(LAYER_SAMPLES, len(held_out))):
        for name, values in taps(held_out.batch(index, 1)).items():
            if name.endswith(".output"):
                collected.setdefault(name, []).append(_some_rows(values))
    return {name: np.concatenate(rows) for name, rows in collected.items()}


def _runs(
    model: bytes, held_out: HeldOut, *, batch_size: int, threads: int | None
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """The first sample of each run, and what it gave by ``<site>.output`` and `OUTPUT`."""
    tensors = {**observable_outputs(model), OUTPUT: output_tensor(model)}
    read = probe(model, list(tensors.values()), threads=threads)
    for start in range(0, len(held_out), batch_size):
        values = read(held_out.batch(start, batch_size))
        yield start, {name: values[tensor] for name, tensor in tensors.items()}


def _has_room(runs: list[Mapping[str, np.ndarray]], given: Mapping[str, np.ndarray], batch_size: int) -> bool:
    count = len(runs) + 1
    values = count * sum(array.size for array in given.values())
    return count == 1 or (count * batch_size <= OWN_SAMPLES and values <= OWN_VALUES)


def _some_rows(rows: np.ndarray) -> np.ndarray:
    """About `LAYER_ROWS` of the rows ``[rows, channels]`` of one sample, or all where there are few; copied."""
    return rows[:: max(1, len(rows) // LAYER_ROWS)].copy()
