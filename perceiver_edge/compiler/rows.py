"""Which self-attends run their two products in int8, and with which numbers.

`perceiver_edge.lowering.row_core` has the form, calibration the ranges: this is where one becomes the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from perceiver_edge.calibration import Range, Ranges, RowRange, Sample, quant_params
from perceiver_edge.compiler.cores import LOSS_SAMPLES, Extents, ExtentsObserver
from perceiver_edge.converters.core_params import Affine, RowParams
from perceiver_edge.lowering import Decision
from perceiver_edge.lowering.integer_core import STEPS
from perceiver_edge.lowering.row_core import SUM_ROOM, Centring

TOLERANCE = 0.03
"""Relative L2 of what is attended to, by which int8 may miss it, as for cross-attends (`core_losses.TOLERANCE`)."""

FORMATS = ("tflite",)
"""Whose engines have a fast int8 product of two tensors. In ONNX Runtime it was not tried."""

Means = Mapping[str, np.ndarray]
"""By self-attend, of keys and values, ``[h * d + h * e]``."""

MARGIN = 0.1
"""Of its magnitude, by which a new sample may exceed the calibration's."""


def choose_rows(
    means: Callable[[Sample], Means],
    extents: Callable[[Sample, Means], Extents],
    samples: Iterable[Sample],
    repeated: Mapping[str, str],
) -> tuple[dict[str, RowRange], Decision]:
    """The self-attends whose products int8 serves well enough, each by its first use, and the reason for the choice.

    Args:
        means: from a batch of one to the means of keys and values of every self-attend.
        extents: from that, and these of all samples, to what `row_attention.extents` gives.
        samples: without batch; read twice.
        repeated: layers that are others once more (`Program.repeated_layers`): all uses have the same ranges.
    """
    batches = [{k: v[np.newaxis] for k, v in s.items()} for s, _ in zip(samples, range(LOSS_SAMPLES), strict=False)]
    own = [means(batch) for batch in batches]
    uses: dict[str, list[str]] = {}
    for name in own[0]:
        uses.setdefault(first_use(name, repeated), []).append(name)
    if not uses:
        return {}, Decision("row_core", False, "no self-attend is large enough to gain by int8")
    shared = {first: _short(np.mean([one[n] for n in names for one in own], axis=0)) for first, names in uses.items()}
    centred = {name: shared[first] for first, names in uses.items() for name in names}
    observer, errors = ExtentsObserver(), dict.fromkeys(uses, np.zeros(2))
    for batch in batches:
        for name, values in extents(batch, centred).items():
            first = first_use(name, repeated)
            errors[first] = errors[first] + values["error"]
            observer.update({first: {k: v for k, v in values.items() if k != "error"}})
    lost = {first: round(float(np.sqrt(error / norm)), 6) for first, (error, norm) in errors.items()}
    found = observer.extents()
    rows = {first: _row_range(loss, shared[first], found[first]) for first, loss in lost.items() if loss <= TOLERANCE}
    reason = f"{len(rows)} of {len(lost)} self-attends in TFLite; int8 loses {min(lost.values()):.2g} to "
    reason += f"{max(lost.values()):.2g} of what is attended to (at most {TOLERANCE:g} is accepted)"
    return rows, Decision("row_core", bool(rows), reason)


def given_rows(ranges: Ranges) -> Decision:
    """The decision where a calibration file made it."""
    return Decision("row_core", bool(ranges.rows), f"{len(ranges.rows)} self-attends, as the calibration file says")


def rows_in(ranges: Ranges, format_: str, names: Iterable[str], repeated: Mapping[str, str]) -> dict[str, RowRange]:
    """Of the self-attends called so, those that run in int8 in this format."""
    firsts = {name: first_use(name, repeated) for name in names}
    rows = ranges.rows if format_ in FORMATS else {}
    return {name: rows[first] for name, first in firsts.items() if first in rows}


def centrings_of(rows: Mapping[str, RowRange]) -> dict[str, Centring]:
    """What rewriting the program takes."""
    return {name: _centring(row) for name, row in rows.items()}


def row_params_of(rows: Mapping[str, RowRange]) -> dict[str, RowParams]:
    """What the converters take."""
    return {
        name: RowParams(
            _affine(row.scores), Affine(1 / STEPS, -128), _affine(_scaled(row.weighted, _centring(row).value_scale))
        ) for name, row in rows.items()
    }  # fmt: skip


def row_site_ranges(ranges: Ranges, rows: Mapping[str, RowRange]) -> dict[str, Range]:
    """The quantisation points that the int8 form has otherwise."""
    points: dict[str, Range] = {}
    for name, row in rows.items():
        largest = _largest(row)
        points |= {
            f"{name}.centred_qkv.input": ranges.points[f"{name}.qkv.input"],
            f"{name}.centred_qkv.output": Range(-largest * 128 / 127, largest),  # engines take the zero point 0 only
            f"{name}.output.input": _scaled(row.attended, _centring(row).value_scale),
        }
    return points


def _centring(row: RowRange) -> Centring:
    return Centring(
        np.array(row.means), _largest(row) / _magnitude(row.keys), _largest(row) / _magnitude(row.values)
    )  # fmt: skip


def _largest(row: RowRange) -> float:
    """Of queries, keys and values alike, once they are scaled."""
    return float(np.sqrt(_magnitude(row.queries) * _magnitude(row.keys)))


def first_use(name: str, repeated: Mapping[str, str]) -> str:
    """``layers.7.self_attn.2`` → ``layers.1.self_attn.2``, where layer 7 is layer 1 once more."""
    layer = ".".join(name.split(".")[:2])
    return repeated.get(layer, layer) + name.removeprefix(layer)


def _short(mean: np.ndarray) -> np.ndarray:
    """In three digits: any constant will do, and a person reads them."""
    return np.array([float(f"{value:.3g}") for value in mean])


def _row_range(error: float, means: np.ndarray, extents: Mapping[str, np.ndarray]) -> RowRange:
    def widened(name: str, room: float) -> Range:
        low, high = map(float, extents[name])
        return Range(low - room * (high - low), high + room * (high - low))

    return RowRange(
        error=error, means=tuple(means.tolist()),
        queries=widened("queries", MARGIN / 2), keys=widened("keys", MARGIN / 2), values=widened("values", MARGIN / 2),
        scores=widened("scores", 0.0), weighted=widened("weighted", SUM_ROOM), attended=widened("attended", MARGIN),
    )  # fmt: skip


def _scaled(values: Range, factor: float) -> Range:
    return Range(values.min * factor, values.max * factor)


def _magnitude(values: Range) -> float:
    """The largest, and 1 where there is nothing but zeros, for something is divided by it."""
    return max(abs(values.min), abs(values.max)) or 1.0


def _affine(values: Range) -> Affine:
    params = quant_params(values)
    return Affine(params.scale, params.zero_point)
