"""Which self-attends run their two products in int8, and with which numbers.

`perceiver_edge.lowering.row_core` has the form, calibration the ranges: this is where one becomes the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace

import numpy as np

from perceiver_edge.calibration import Range, Ranges, RowRange, Sample, quant_params
from perceiver_edge.compiler.core_losses import TOLERANCE
from perceiver_edge.compiler.cores import (
    LOSS_SAMPLES,
    Extents,
    ExtentsObserver,
    affine,
    magnitude,
    relative,
    symmetric,
)
from perceiver_edge.converters.core_params import Affine, RowParams
from perceiver_edge.lowering import Decision
from perceiver_edge.lowering.integer_core import STEPS
from perceiver_edge.lowering.row_core import LEAST_SCORE, SUM_ROOM, Centring

FORMATS = ("tflite",)
"""Whose engines have a fast int8 product of two tensors. In ONNX Runtime it was not tried."""

Means = Mapping[str, np.ndarray]
"""By self-attend, of keys and values, ``[h * d + h * e]``."""

MARGIN = 0.1
"""Of its magnitude, by which a new sample may exceed the calibration's."""


def choose_rows(
    means: Callable[[Sample], Means],
    extents: Callable[[Sample, Means], Extents],
    losses: Callable[[Mapping[str, RowRange]], Callable[[Sample], Mapping[str, np.ndarray]]],
    samples: Iterable[Sample],
    *,
    repeated: Mapping[str, str],
    formats: Container[str],
) -> tuple[dict[str, RowRange], Decision]:
    """The self-attends whose products int8 serves well enough, each by its first use, and the reason for the choice.

    A layer is judged by the use that loses most, with the ranges that all its uses get.

    Args:
        means: from a batch of one to the means of keys and values of every self-attend.
        extents: from that, and these of all samples, to what `row_attention.extents` gives.
        losses: with the ranges of every use → from a batch of one to what `integer_arithmetic.rows_lost` gives.
        samples: without batch; the first are kept.
        repeated: layers that are others once more (`Program.repeated_layers`): all uses have the same ranges.
        formats: that are made.
    """
    if not any(format_ in formats for format_ in FORMATS):
        return {}, Decision("row_core", False, "no TFLite file is made")
    batches = [{k: v[np.newaxis] for k, v in s.items()} for s in itertools.islice(samples, LOSS_SAMPLES)]
    own = [means(batch) for batch in batches]
    uses: dict[str, list[str]] = {}
    for name in own[0]:
        uses.setdefault(first_use(name, repeated), []).append(name)
    if not uses:
        return {}, Decision("row_core", False, "no self-attend is large enough to gain by int8")
    shared = {first: _short(np.mean([one[n] for n in names for one in own], axis=0)) for first, names in uses.items()}
    centred = {name: shared[first] for first, names in uses.items() for name in names}
    observer = ExtentsObserver()
    for batch in batches:
        for name, values in extents(batch, centred).items():
            observer.update({first_use(name, repeated): values})
    found = {first: _row_range(shared[first], values) for first, values in observer.extents().items()}
    lost = _worst_losses(losses({name: found[first_use(name, repeated)] for name in centred}), batches, uses)
    rows = {first: replace(found[first], error=loss) for first, loss in lost.items() if loss <= TOLERANCE}
    reason = f"{len(rows)} of {len(lost)} self-attends in TFLite; int8 loses {min(lost.values()):.2g} to "
    reason += f"{max(lost.values()):.2g} of what is attended to (at most {TOLERANCE:g} is accepted)"
    return rows, Decision("row_core", bool(rows), reason)


def _worst_losses(
    losses: Callable[[Sample], Mapping[str, np.ndarray]], batches: Iterable[Sample], uses: Mapping[str, Iterable[str]]
) -> dict[str, float]:
    errors = {name: np.zeros(2) for names in uses.values() for name in names}
    for batch in batches:
        for name, error in losses(batch).items():
            errors[name] = errors[name] + error
    return {first: max(relative(*errors[name]) for name in names) for first, names in uses.items()}


def given_rows(ranges: Ranges) -> Decision:
    """The decision where a calibration file made it."""
    count = sum(row.error <= TOLERANCE for row in ranges.rows.values())
    return Decision("row_core", bool(count), f"{count} self-attends, as the calibration file says")


def rows_in(ranges: Ranges, format_: str, names: Iterable[str], repeated: Mapping[str, str]) -> dict[str, RowRange]:
    """Of the self-attends called so, those that run in int8 in this format: it loses little enough."""
    firsts = {name: first_use(name, repeated) for name in names}
    rows = {name: row for name, row in ranges.rows.items() if format_ in FORMATS and row.error <= TOLERANCE}
    return {name: rows[first] for name, first in firsts.items() if first in rows}


def centrings_of(rows: Mapping[str, RowRange]) -> dict[str, Centring]:
    """What rewriting the program takes."""
    return {name: _centring(row) for name, row in rows.items()}


def row_params_of(rows: Mapping[str, RowRange]) -> dict[str, RowParams]:
    """What the converters take."""
    return {
        name: RowParams(
            scores=affine(off_ties(row.scores)), weights=Affine(1 / STEPS, -128),
            weighted=affine(_scaled(row.weighted, _centring(row).value_scale)),
        ) for name, row in rows.items()
    }  # fmt: skip


def off_ties(scores: Range) -> Range:
    """A little wider, for weights that are far from a tie.

    Scores are whole steps apart, so all at one distance from their row's largest have the same weight. Where that
    lies between two steps of a weight, an engine's exp tips all of them together by its last bit.
    """

    def to_nearest_tie(values: Range) -> float:
        step = quant_params(values).scale
        weights = STEPS * np.exp(-step * np.arange(1, LEAST_SCORE / step + 1))
        return float(np.abs(weights - np.floor(weights) - 0.5).min())

    room = (scores.max - scores.min) / 1000
    return max((Range(scores.min, scores.max + room * count) for count in range(64)), key=to_nearest_tie)


def row_site_ranges(ranges: Ranges, rows: Mapping[str, RowRange]) -> dict[str, Range]:
    """The quantisation points that the int8 form has otherwise."""
    points: dict[str, Range] = {}
    for name, row in rows.items():
        points |= {
            f"{name}.centred_qkv.input": ranges.points[f"{name}.qkv.input"],
            f"{name}.centred_qkv.output": _projected(row),
            f"{name}.output.input": _scaled(row.attended, _centring(row).value_scale),
        }
    return points


def values_of(row: RowRange) -> Affine:
    """How queries, keys and values come from their product."""
    return affine(_projected(row))


def _projected(row: RowRange) -> Range:
    return symmetric(Range(0.0, _largest(row)))


def _centring(row: RowRange) -> Centring:
    return Centring(
        np.array(row.means), _largest(row) / magnitude(row.keys), _largest(row) / magnitude(row.values)
    )  # fmt: skip


def _largest(row: RowRange) -> float:
    """Of queries, keys and values alike, once they are scaled."""
    return float(np.sqrt(magnitude(row.queries) * magnitude(row.keys)))


def first_use(name: str, repeated: Mapping[str, str]) -> str:
    """``layers.7.self_attn.2`` → ``layers.1.self_attn.2``, where layer 7 is layer 1 once more."""
    layer = ".".join(name.split(".")[:2])
    return repeated.get(layer, layer) + name.removeprefix(layer)


def _short(mean: np.ndarray) -> np.ndarray:
    """In three digits: any constant will do, and a person reads them."""
    return np.array([float(f"{value:.3g}") for value in mean])


def _row_range(means: np.ndarray, extents: Mapping[str, np.ndarray]) -> RowRange:
    def widened(name: str, room: float) -> Range:
        low, high = map(float, extents[name])
        return Range(low - room * (high - low), high + room * (high - low))

    return RowRange(
        error=0.0, means=tuple(means.tolist()),
        queries=widened("queries", MARGIN / 2), keys=widened("keys", MARGIN / 2), values=widened("values", MARGIN / 2),
        scores=widened("scores", 0.0), weighted=widened("weighted", SUM_ROOM), attended=widened("attended", MARGIN),
    )  # fmt: skip


def _scaled(values: Range, factor: float) -> Range:
    return Range(values.min * factor, values.max * factor)
