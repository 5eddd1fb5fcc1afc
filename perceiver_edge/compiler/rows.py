"""Which self-attends run their two products in int8, and with which numbers.

`perceiver_edge.lowering.row_core` has the form, calibration the ranges: this is where one becomes the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from perceiver_edge.calibration import Range, Ranges, RowLayer, RowRange, Sample, first_use, quant_params
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


@dataclass(frozen=True, eq=False)
class Rows:
    """The self-attends of a model that run in int8.

    ``uses``: they. ``layers``: what their layers share, by the name of every use, also of those that stay in float.
    """

    layers: Mapping[str, RowLayer]
    uses: Mapping[str, RowRange]


def choose_rows(
    means: Callable[[Sample], Means],
    extents: Callable[[Sample, Means, Means], Extents],
    losses: Callable[[Rows], Callable[[Sample], Mapping[str, np.ndarray]]],
    samples: Iterable[Sample],
    *,
    value_channels: Mapping[str, int],
    repeated: Mapping[str, str],
    formats: Container[str],
) -> tuple[dict[str, RowLayer], dict[str, RowRange], Decision]:
    """The self-attends whose products int8 serves well enough, what their layers share, and the reason for the choice.

    Each use of a layer is judged by itself, with what all of them share.

    Args:
        means: from a batch of one to the means of keys and values of every self-attend.
        extents: from that, the means of each layer, and the shifts, to what `row_attention.extents` gives.
        losses: with the ranges of every use → from a batch of one to what `integer_arithmetic.rows_lost` gives.
        samples: without batch; the first are kept.
        value_channels: of all heads together, of every self-attend.
        repeated: layers that are others once more (`Program.repeated_layers`).
        formats: that are made.
    """
    if not any(format_ in formats for format_ in FORMATS):
        return {}, {}, Decision("row_core", False, "no TFLite file is made")
    batches = [{k: v[np.newaxis] for k, v in s.items()} for s in itertools.islice(samples, LOSS_SAMPLES)]
    seen = [means(batch) for batch in batches]
    own = {name: np.mean([one[name] for one in seen], axis=0) for name in seen[0]}
    firsts = {name: first_use(name, repeated) for name in own}
    if not firsts:
        return {}, {}, Decision("row_core", False, "no self-attend is large enough to gain by int8")
    of_layers = {
        first: _short(np.mean([own[name] for name in firsts if firsts[name] == first], axis=0))
        for first in firsts.values()
    }
    centred = {name: of_layers[first] for name, first in firsts.items()}
    shifts = {name: _short(_short(own[name]) - centred[name])[-channels:] for name, channels in value_channels.items()}
    of_layer, of_use = ExtentsObserver(), ExtentsObserver()
    for batch in batches:
        found = extents(batch, centred, shifts)
        of_use.update(found)
        for name, values in found.items():
            of_layer.update({firsts[name]: values})
    layers = {first: _row_layer(of_layers[first], values) for first, values in of_layer.extents().items()}
    uses = {name: _row_range(shifts[name], values) for name, values in of_use.extents().items()}
    lost = _losses(losses(Rows({name: layers[first] for name, first in firsts.items()}, uses)), batches)
    rows = {name: replace(uses[name], error=loss) for name, loss in lost.items() if loss <= TOLERANCE}
    kept = {firsts[name]: layers[firsts[name]] for name in rows}
    return kept, rows, Decision("row_core", bool(rows), _reason(lost))


def _losses(losses: Callable[[Sample], Mapping[str, np.ndarray]], batches: Iterable[Sample]) -> dict[str, float]:
    found = [losses(batch) for batch in batches]
    return {name: relative(*np.sum([errors[name] for errors in found], axis=0)) for name in found[0]}


def _reason(lost: Mapping[str, float]) -> str:
    served = [loss for loss in lost.values() if loss <= TOLERANCE]
    others = [loss for loss in lost.values() if loss > TOLERANCE]
    reason = f"{len(served)} of {len(lost)} self-attends in TFLite"
    if served:
        reason += f"; int8 loses {min(served):.2g} to {max(served):.2g} of what is attended to"
    if others:
        reason += f"; {len(others)} would lose {min(others):.2g} to {max(others):.2g}, so they stay in float"
    return f"{reason} (at most {TOLERANCE:g} is accepted)"


def given_rows(ranges: Ranges) -> Decision:
    """The decision where a calibration file made it."""
    count = sum(row.error <= TOLERANCE for row in ranges.rows.values())
    return Decision("row_core", bool(count), f"{count} self-attends, as the calibration file says")


def rows_in(ranges: Ranges, format_: str, names: Iterable[str], repeated: Mapping[str, str]) -> Rows:
    """Of the self-attends called so, those that run in int8 in this format: it loses little enough."""
    uses = {name: row for name, row in ranges.rows.items() if format_ in FORMATS and row.error <= TOLERANCE}
    served = {first_use(name, repeated) for name in uses}
    firsts = {name: first_use(name, repeated) for name in names}
    return Rows({name: ranges.row_layers[first] for name, first in firsts.items() if first in served}, uses)


def centrings_of(rows: Rows) -> dict[str, Centring]:
    """What rewriting the program takes."""
    return {name: _centring(layer) for name, layer in rows.layers.items()}


def row_params_of(rows: Rows) -> dict[str, RowParams]:
    """What the converters take."""
    found = {}
    for name, row in rows.uses.items():
        factor, step = _centring(rows.layers[name]).value_scale, _shift_step(row, rows.layers[name])
        found[name] = RowParams(
            scores=affine(off_ties(row.scores)), weights=Affine(1 / STEPS, -128),
            weighted=affine(_scaled(row.weighted, factor)),
            shift=None if step is None else Affine(step), shifted=affine(symmetric(_scaled(row.shifted, factor))),
        )  # fmt: skip
    return found


def shifts_of(rows: Rows) -> dict[str, np.ndarray | None]:
    """What rewriting the program takes, of those that run in int8: in whole steps of int8, so that it is exact."""
    found: dict[str, np.ndarray | None] = {}
    for name, row in rows.uses.items():
        layer = rows.layers[name]
        step = _shift_step(row, layer)
        shift = np.array(row.shift) * _centring(layer).value_scale
        found[name] = None if step is None else (np.rint(shift / step) * step).astype(np.float32)
    return found


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


def row_site_ranges(ranges: Ranges, rows: Rows) -> dict[str, Range]:
    """The quantisation points that the layers have otherwise: also those of uses that stay in float."""
    points: dict[str, Range] = {}
    for name, layer in rows.layers.items():
        points |= {
            f"{name}.centred_qkv.input": ranges.points[f"{name}.qkv.input"],
            f"{name}.centred_qkv.output": _projected(layer),
            f"{name}.output.input": _scaled(layer.attended, _centring(layer).value_scale),
        }
    return points


def values_of(layer: RowLayer) -> Affine:
    """How queries, keys and values come from their product."""
    return affine(_projected(layer))


def _projected(layer: RowLayer) -> Range:
    return symmetric(Range(0.0, _largest(layer)))


def _centring(layer: RowLayer) -> Centring:
    return Centring(
        np.array(layer.means), _largest(layer) / magnitude(layer.keys), _largest(layer) / magnitude(layer.values)
    )  # fmt: skip


def _shift_step(row: RowRange, layer: RowLayer) -> float | None:
    """Of int8; None where there is nothing to shift."""
    largest = max(map(abs, row.shift), default=0.0) * _centring(layer).value_scale
    return affine(symmetric(Range(0.0, largest))).scale if largest > 0 else None


def _largest(layer: RowLayer) -> float:
    """Of queries, keys and values alike, once they are scaled."""
    return float(np.sqrt(magnitude(layer.queries) * magnitude(layer.keys)))


def _short(mean: np.ndarray) -> np.ndarray:
    """In three digits: any constant will do, and a person reads them."""
    return np.array([float(f"{value:.3g}") for value in mean])


def _row_layer(means: np.ndarray, extents: Mapping[str, np.ndarray]) -> RowLayer:
    return RowLayer(
        means=tuple(means.tolist()), queries=_widened(extents["queries"], MARGIN / 2),
        keys=_widened(extents["keys"], MARGIN / 2), values=_widened(extents["values"], MARGIN / 2),
        attended=_widened(extents["attended"], MARGIN),
    )  # fmt: skip


def _row_range(shift: np.ndarray, extents: Mapping[str, np.ndarray]) -> RowRange:
    return RowRange(
        error=0.0, shift=tuple(shift.tolist()) if shift.any() else (),
        shifted=_widened(extents["shifted"], MARGIN / 2), scores=_widened(extents["scores"], 0.0),
        weighted=_widened(extents["weighted"], SUM_ROOM),
    )  # fmt: skip


def _widened(extent: np.ndarray, room: float) -> Range:
    low, high = map(float, extent)
    return Range(low - room * (high - low), high + room * (high - low))


def _scaled(values: Range, factor: float) -> Range:
    return Range(values.min * factor, values.max * factor)
