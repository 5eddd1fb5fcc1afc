"""Which cross-attends run their core in int8, and with which numbers.

`perceiver_edge.lowering.integer_core` has the form, calibration the ranges: this is where one becomes the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from perceiver_edge.calibration import (
    DEFAULT_METHOD,
    CoreRange,
    Range,
    Ranges,
    Sample,
    give_room,
    observe,
    one_range_for_all_uses,
    quant_params,
)
from perceiver_edge.compiler.core_losses import TOLERANCE, decisions, given_decisions, serves
from perceiver_edge.converters.core_params import Affine, CoreParams, RowParams
from perceiver_edge.lowering import Decision
from perceiver_edge.lowering.integer_core import (
    ROOM,
    SCORE_RANGE,
    SHIFT_CHANNELS,
    SIGMOID_SHIFT,
    STEPS,
    UNSATURATED,
    Bound,
)
from perceiver_edge.lowering.program import Exponential

if TYPE_CHECKING:
    from perceiver_edge.converters.trace import Traced

MARGIN = 0.25
"""By which a score may exceed the largest seen before int8 saturates; it costs a fifth of the weights' resolution."""

LOSS_SAMPLES = 8
"""Calibration samples that the loss is estimated on."""

_NOTHING = 1e-9
"""A magnitude that no activation has: what would be divided by it would have no end."""

_LOST = 1e3
"""A loss that is no number, or has no end, is written as this."""

Extents = Mapping[str, Mapping[str, np.ndarray]]
"""By core: see `lowering.core_survey`."""


@dataclass(frozen=True, eq=False)
class IntegerForm:
    """What an int8 model of one format is made from: a trace, the range of every quantisation point, and the cores.

    ``float_sites``: products that have no points, and stay in float. ``rows``: the self-attends with int8 products.
    """

    traced: Traced
    points: Mapping[str, Range]
    cores: Mapping[str, CoreParams]
    float_sites: tuple[str, ...] = ()
    rows: Mapping[str, RowParams] = field(default_factory=dict)


class ExtentsObserver:
    """The extents of every core over all samples that were shown."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, np.ndarray]] = {}

    def update(self, extents: Extents) -> None:
        for core, values in extents.items():
            seen = self._found.setdefault(core, dict(values))
            for name, value in values.items():
                largest = np.maximum(seen[name], value)
                # A range is [min, max], a bound has a maximum for each row.
                seen[name] = largest if name == "bound" else np.array([min(seen[name][0], value[0]), largest[1]])

    def extents(self) -> Extents:
        return self._found


def calibrate(
    survey: Callable[[Sample], tuple[Mapping[str, np.ndarray], Extents]],
    losses: Callable[[Sample, Mapping[str, np.ndarray]], Extents],
    samples: Iterable[Sample],
    *,
    method: str = DEFAULT_METHOD,
    repeated: Mapping[str, str] | None = None,
    why_no_core: str = "",
    on_progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, Range], dict[str, CoreRange], tuple[Decision, ...]]:
    """The range of every quantisation point, the cores that are to run in int8, and the reasons for these.

    Args:
        survey: from a batch of one to activations by point, and extents by core.
        losses: from a batch of one, and a bound by core, to the losses by core.
        samples: without batch; read twice.
        repeated: layers that are others once more (`Program.repeated_layers`).
        why_no_core: no cross-attend has an int8 form, if none has.

    Raises:
        BadInputError: as `calibration.observe`.
    """
    observer = ExtentsObserver()

    def taps(sample: Sample) -> Mapping[str, np.ndarray]:
        points, extents = survey(sample)
        observer.update(extents)
        return points

    points = give_room(observe(taps, samples, method=method, on_progress=on_progress))
    points = one_range_for_all_uses(points, repeated or {})
    return points, *choose_cores(observer.extents(), losses, samples, why_none=why_no_core)


def choose_cores(
    extents: Extents,
    losses: Callable[[Sample, Mapping[str, np.ndarray]], Extents],
    samples: Iterable[Sample],
    *,
    why_none: str = "",
) -> tuple[dict[str, CoreRange], tuple[Decision, ...]]:
    """The cores that int8 serves well enough, and the reasons for the choice; see `calibrate`."""
    if not extents:
        return {}, (Decision("integer_core", False, f"no cross-attend has an int8 form here: {why_none}"),)
    bounds = {core: (values["bound"] + MARGIN).astype(np.float32) for core, values in extents.items()}
    observer = ExtentsObserver()
    errors = dict.fromkeys(extents, np.zeros(3))
    for sample, _ in zip(samples, range(LOSS_SAMPLES), strict=False):
        found = losses({name: values[np.newaxis] for name, values in sample.items()}, bounds)
        errors = {core: errors[core] + found[core]["error"] for core in errors}
        observer.update({core: {k: v for k, v in values.items() if k != "error"} for core, values in found.items()})
    cores = {}
    lost = {
        core: {"elu": relative(elu, norm), "sigmoid": relative(sigmoid, norm)}
        for core, (elu, sigmoid, norm) in errors.items()
    }
    for core, values in extents.items():
        if min(lost[core].values()) <= TOLERANCE:
            sums = observer.extents()[core]
            ranges = {name: Range(*map(float, limits)) for name, limits in values.items() if name != "bound"}
            cores[core] = CoreRange(
                elu_error=lost[core]["elu"], sigmoid_error=lost[core]["sigmoid"],
                query=ranges["query"], context=ranges["context"], mean=ranges["context_mean"], keys=ranges["keys"],
                values=ranges["values"], mean_value=ranges["mean_value"],
                weighted=_with_room(sums["weighted"]), total=_with_room(sums["total"]),
                bound=tuple(bounds[core].tolist()),
            )  # fmt: skip
    return cores, decisions(lost)


def cores_in(ranges: Ranges, format_: str) -> dict[str, CoreRange]:
    """Those that run in int8 in this format: its form of exp loses little enough."""
    return {name: core for name, core in ranges.cores.items() if serves(core.errors, format_)}


def given_cores(ranges: Ranges, cores: Iterable[str]) -> tuple[Decision, ...]:
    """The decisions where a calibration file made them; ``cores`` are all that have an int8 form."""
    return given_decisions({name: core.errors for name, core in ranges.cores.items()}, cores)


def relative(error: float, norm: float) -> float:
    """Of a squared error, as is written: 0 / 0 and what has no end are lost."""
    with np.errstate(divide="ignore", invalid="ignore"):
        lost = float(np.sqrt(np.divide(error, norm)))
    return round(lost, 6) if lost < _LOST else _LOST  # NaN is lost, too


def bounds_of(cores: Mapping[str, CoreRange]) -> dict[str, Bound]:
    """What rewriting the program takes."""
    return {
        name: Bound(np.array(core.bound), magnitude(core.keys), magnitude(core.values))
        for name, core in cores.items()
    }  # fmt: skip


def params_of(cores: Mapping[str, CoreRange], exponential: Exponential) -> dict[str, CoreParams]:
    """What the converters take."""
    return {name: _params(core, exponential) for name, core in cores.items()}


def site_ranges(cores: Mapping[str, CoreRange]) -> dict[str, Range]:
    """The quantisation points of the products with weights that only the int8 form has."""
    points: dict[str, Range] = {}
    for name, core in cores.items():
        points |= {
            f"{name}.centred_key.input": core.context,
            f"{name}.centred_key.output": symmetric(core.keys),
            f"{name}.centred_value.input": core.context,
            f"{name}.centred_value.output": symmetric(core.values),
            f"{name}.mean_value.input": core.mean,
            f"{name}.mean_value.output": core.mean_value,
        }
    return points


def _params(core: CoreRange, exponential: Exponential) -> CoreParams:
    lowered_by = SIGMOID_SHIFT if exponential == "sigmoid" else 0.0
    shift = -(np.array(core.bound) + lowered_by) / (magnitude(core.keys) * SHIFT_CHANNELS)
    query = Range(min(core.query.min, float(shift.min())), max(core.query.max, float(shift.max())))
    scores = Affine((SCORE_RANGE + lowered_by) / STEPS, 127)
    if exponential == "elu":  # from -1 to 0
        weights, largest = Affine(1 / STEPS, 127), STEPS // 2
    else:  # from 0 to the sigmoid of the highest score
        weights, largest = Affine(1 / (1 + float(np.exp(SIGMOID_SHIFT))) / STEPS, -128), UNSATURATED
    return CoreParams(
        query=affine(query), keys=Affine(magnitude(core.keys) / largest),
        values=Affine(magnitude(core.values) / largest), scores=scores, weights=weights,
        weighted=affine(core.weighted), total=affine(core.total),
    )  # fmt: skip


def affine(values: Range) -> Affine:
    """Scale and zero point of a range."""
    params = quant_params(values)
    return Affine(params.scale, params.zero_point)


def magnitude(values: Range) -> float:
    """The largest, and 1 where there is nothing but zeros, for something is divided by it."""
    largest = max(abs(values.min), abs(values.max))
    return largest if largest > _NOTHING else 1.0


def symmetric(values: Range) -> Range:
    """A range for which the zero point of asymmetric int8 is 0: engines take no other for keys and values."""
    largest = magnitude(values)
    return Range(-largest * 128 / 127, largest)


def _with_room(limits: np.ndarray) -> Range:
    low, high = map(float, limits)
    room = ROOM * (high - low)
    return Range(low - room, high + room)
