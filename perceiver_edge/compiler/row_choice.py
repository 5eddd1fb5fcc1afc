"""Which self-attends run their two products in int8: ranges of each, and what it would lose with them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace

import numpy as np

from perceiver_edge.calibration import Range, RowLayer, RowRange, Sample, first_use
from perceiver_edge.compiler.core_losses import TOLERANCE
from perceiver_edge.compiler.cores import LOSS_SAMPLES, Extents, ExtentsObserver, relative
from perceiver_edge.compiler.rows import FORMATS, Rows
from perceiver_edge.lowering import Decision
from perceiver_edge.lowering.row_core import SUM_ROOM

Means = Mapping[str, np.ndarray]
"""By self-attend, of keys and values, ``[h * d + h * e]``."""

MARGIN = 0.1
"""Of its magnitude, by which a new sample may exceed the calibration's."""


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
    served = {name: loss for name, loss in lost.items() if loss <= TOLERANCE}
    others = {name: loss for name, loss in lost.items() if loss > TOLERANCE}
    reason = f"{len(served)} of {len(lost)} self-attends in TFLite"
    if served:
        reason += f"; int8 loses {_spread(served)} of what is attended to"
    if others:
        reason += f"; {', '.join(others) if served else 'all'} would lose {_spread(others)}, and stay in float"
    return f"{reason} (at most {TOLERANCE:g} is accepted)"


def _spread(losses: Mapping[str, float]) -> str:
    least, most = f"{min(losses.values()):.2g}", f"{max(losses.values()):.2g}"
    return least if least == most else f"{least} to {most}"


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
        scores=_widened(extents["scores"], 0.0),
        weighted=_widened(extents["weighted"], SUM_ROOM),
    )  # fmt: skip


def _widened(extent: np.ndarray, room: float) -> Range:
    low, high = map(float, extent)
    return Range(low - room * (high - low), high + room * (high - low))
