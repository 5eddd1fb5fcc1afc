"""The self-attends whose two products run in int8: from what calibration found to the numbers of the form.

`perceiver_edge.lowering.row_core` has the form, `row_choice` what calibration finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from perceiver_edge.calibration import Range, Ranges, RowLayer, RowRange, first_use, quant_params
from perceiver_edge.compiler.core_losses import TOLERANCE
from perceiver_edge.compiler.cores import affine, magnitude, symmetric
from perceiver_edge.converters.core_params import Affine, RowParams
from perceiver_edge.lowering import Decision
from perceiver_edge.lowering.integer_core import STEPS
from perceiver_edge.lowering.row_core import LEAST_SCORE, Centring

FORMATS = ("tflite",)
"""Whose engines have a fast int8 product of two tensors. In ONNX Runtime it was not tried."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The self-attends of a model that run in int8.

    ``uses``: they. ``layers``: what their layers share, by the name of every use, also of those that stay in float.
    """

    layers: Mapping[str, RowLayer]
    uses: Mapping[str, RowRange]


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
    return {
        name: RowParams(
            scores=affine(off_ties(row.scores)), weights=Affine(1 / STEPS, -128),
            weighted=affine(_scaled(row.weighted, _centring(rows.layers[name]).value_scale)),
            shift=values_of(rows.layers[name]) if row.shift else None,
        ) for name, row in rows.uses.items()
    }  # fmt: skip


def shifts_of(rows: Rows) -> dict[str, np.ndarray | None]:
    """What rewriting the program takes, of those that run in int8: in whole steps of values, so that it is exact."""
    return {name: _shift(row, rows.layers[name]) if row.shift else None for name, row in rows.uses.items()}


def _shift(row: RowRange, layer: RowLayer) -> np.ndarray:
    step = values_of(layer).scale
    whole = np.rint(np.array(row.shift) * _centring(layer).value_scale / step)
    return (np.clip(whole, -(STEPS // 2), STEPS // 2) * step).astype(np.float32)


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


def _largest(layer: RowLayer) -> float:
    """Of queries, keys and values alike, once they are scaled."""
    return float(np.sqrt(magnitude(layer.queries) * magnitude(layer.keys)))


def _scaled(values: Range, factor: float) -> Range:
    return Range(values.min * factor, values.max * factor)
