"""Parity is a gate: the bounds (`Gates`), the verdict on one artefact (`judge`), and the report on all of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from perceiver_edge.errors import BadInputError, GateError
from perceiver_edge.proof import metrics
from perceiver_edge.proof.metrics import FLOAT_TOLERANCE, Metrics
from perceiver_edge.proof.outputs import WorstOutput

PRECISIONS = ("fp32", "fp16", "dynamic", "int8")

FP16_RELATIVE_L2 = 1e-2
"""Half precision rounds each weight by up to 2⁻¹¹ = 5e-4; twenty layers of that is below 1e-2 with room to spare."""
FP16_COSINE = 0.999
INT8_COSINE = 0.99
"""Allows an error of 14 % of the norm: several times what int8 GEMMs around float attention cost (2-4 %), and far from
a collapsed model. `dynamic` has int8 weights too and is held to the same."""
INT8_RELATIVE_L2 = 0.07
"""Twice the error of the worst sound int8 model measured while this was designed (0.035). The cosine alone lets one
class whose scale is wrong by half pass, at 0.073."""
TOP1_AGREEMENT = 0.97
LOW_VARIATION = 0.01
"""A reference that varies less than this over the samples varies by a few of the 255 steps of an int8 output."""
FP32_SENSITIVITY = 0.01
FP16_SENSITIVITY = 0.05
INT8_SENSITIVITY = 0.1
"""How far the sensitivity ratio may be from 1. Noise independent of the input takes it to √(1 + n²) and the centred
cosine to 1/√(1 + n²); so each precision's centred cosine bound is 1 less this, what its upper bound 1 + s implies."""

_RANGES = {
    "relative_l2": (0.0, math.inf),
    "cosine": (-1.0, 1.0),
    "top1_agreement": (0.0, 1.0),
    "sensitivity_min": (0.0, math.inf),
    "sensitivity_max": (0.0, math.inf),
    "centred_cosine": (-1.0, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The bounds of one precision. `None` is no bound. ``top1_agreement`` only ever applies to classifiers."""

    relative_l2: float | None = None
    cosine: float | None = None
    top1_agreement: float | None = None
    sensitivity_min: float | None = None
    sensitivity_max: float | None = None
    centred_cosine: float | None = None

    @classmethod
    def for_precision(cls, precision: str) -> Gates:
        """The default bounds for ``fp32``, ``fp16``, ``dynamic`` or ``int8``."""
        if precision == "fp32":
            return cls._around(FP32_SENSITIVITY, relative_l2=FLOAT_TOLERANCE)
        if precision == "fp16":
            return cls._around(FP16_SENSITIVITY, relative_l2=FP16_RELATIVE_L2, cosine=FP16_COSINE)
        if precision in PRECISIONS:
            return cls._around(INT8_SENSITIVITY, relative_l2=INT8_RELATIVE_L2, cosine=INT8_COSINE)
        raise BadInputError("Unknown precision.", expected=", ".join(PRECISIONS), got=precision)

    @classmethod
    def _around(cls, sensitivity: float, *, relative_l2: float | None = None, cosine: float | None = None) -> Gates:
        return cls(
            relative_l2=relative_l2,
            cosine=cosine,
            top1_agreement=TOP1_AGREEMENT,
            sensitivity_min=1 - sensitivity,
            sensitivity_max=1 + sensitivity,
            centred_cosine=1 - sensitivity,
        )

    def with_overrides(self, overrides: Mapping[str, float]) -> Gates:
        """These bounds with some replaced, by field name.

        Raises:
            BadInputError: an unknown name, a bound that its metric can never reach, or an empty sensitivity interval.
        """
        for name, value in overrides.items():
            if name not in _RANGES:
                raise BadInputError("Unknown parity gate.", expected=", ".join(_RANGES), got=name)
            low, high = _RANGES[name]
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value) or not low <= value <= high:
                allowed = f"a finite number of at least {low:g}" + ("" if math.isinf(high) else f", at most {high:g}")
                raise BadInputError(f"Parity gate {name!r} is out of range.", expected=allowed, got=repr(value))
        gates = dataclasses.replace(self, **overrides)
        low_, high_ = gates.sensitivity_min, gates.sensitivity_max
        if low_ is not None and high_ is not None and low_ > high_:
            raise BadInputError(
                "No sensitivity ratio can pass these gates.",
                expected="sensitivity_min of at most sensitivity_max",
                got=f"sensitivity_min {low_:g}, sensitivity_max {high_:g}",
            )
        return gates


def gates_by_precision(precisions: Iterable[str], overrides: Mapping[str, float]) -> dict[str, Gates]:
    """The gates of one bundle. What the user changes holds for the precision asked for, not for its float32 peer."""
    gates = {precision: Gates.for_precision(precision) for precision in precisions}
    asked_for = [precision for precision in gates if precision != "fp32"] or list(gates)
    return gates | {precision: gates[precision].with_overrides(overrides) for precision in asked_for}


@dataclass(frozen=True)
class Check:
    """One metric held against its bounds. A NaN never passes."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def passed(self) -> bool:
        above = self.at_least is None or self.value >= self.at_least
        below = self.at_most is None or self.value <= self.at_most
        return not math.isnan(self.value) and above and below

    @property
    def bound(self) -> str:
        """The bounds in words: ``≥ 0.99``, ``≤ 0.0001`` or ``0.9 to 1.1``."""
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    metrics: Metrics
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)


def judge(
    reference: ArrayLike,
    actual: ArrayLike,
    *,
    gates: Gates,
    is_classifier: bool,
    labels: ArrayLike | None = None,
    output_step: float = 0.0,
) -> Judgement:
    """Measure ``actual`` against ``reference`` and hold it to ``gates``; shapes and errors as in `metrics.measure`."""
    measured = metrics.measure(reference, actual, is_classifier=is_classifier, labels=labels, output_step=output_step)
    candidates = [
        Check("relative_l2", measured.relative_l2, at_most=gates.relative_l2),
        Check("cosine", measured.cosine, at_least=gates.cosine),
        Check(
            "sensitivity_ratio",
            measured.sensitivity_ratio,
            at_least=gates.sensitivity_min,
            at_most=gates.sensitivity_max,
        ),
        Check("centred_cosine", measured.centred_cosine, at_least=gates.centred_cosine),
    ]
    if (worst := measured.worst_output) is not None:
        name = f"output_{worst.index}"
        sensitivity = {"at_least": gates.sensitivity_min, "at_most": gates.sensitivity_max}
        candidates.append(Check(f"{name}_sensitivity_ratio", worst.sensitivity_ratio, **sensitivity))
        candidates.append(Check(f"{name}_centred_cosine", worst.centred_cosine, at_least=gates.centred_cosine))
    if measured.top1_agreement is not None:
        candidates.append(Check("top1_agreement", measured.top1_agreement, at_least=gates.top1_agreement))
    bounded = tuple(check for check in candidates if (check.at_least, check.at_most) != (None, None))
    return Judgement(metrics=measured, checks=bounded)


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """One named tensor of the artefact against the reference's, over all samples together."""

    name: str
    relative_l2: float
    sqnr_db: float
    cosine: float


def layer_errors(reference: Mapping[str, ArrayLike], actual: Mapping[str, ArrayLike]) -> tuple[LayerError, ...]:
    """Errors of the tensors that both sides have, in the reference's order.

    A tensor only one side has is left out: a converter may fuse it away.

    Raises:
        BadInputError: no name in common, or a tensor whose two shapes differ.
    """
    shared = [name for name in reference if name in actual]
    if not shared:
        raise BadInputError(
            "The reference and the artefact have no layer in common.", expected=list(reference), got=list(actual)
        )
    return tuple(_layer_error(name, reference[name], actual[name]) for name in shared)


def _layer_error(name: str, reference: ArrayLike, actual: ArrayLike) -> LayerError:
    r, a = np.asarray(reference, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if r.shape != a.shape:
        raise BadInputError("A layer's two outputs differ in shape.", expected=r.shape, got=a.shape, where=name)
    if not (np.isfinite(r).all() and np.isfinite(a).all()):
        return LayerError(name=name, relative_l2=math.nan, sqnr_db=math.nan, cosine=math.nan)
    return LayerError(
        name=name,
        relative_l2=metrics.relative_l2(r, a),
        sqnr_db=metrics.sqnr_db(r, a),
        cosine=metrics.cosine(r, a),
    )


@dataclass(frozen=True, kw_only=True)
class ArtefactParity:
    """One artefact. ``classes``: what a classifier chose for each sample, in the samples' order."""

    name: str
    engine: str
    precision: str
    judgement: Judgement
    layers: tuple[LayerError, ...] = ()
    classes: tuple[int, ...] = ()

    @property
    def passed(self) -> bool:
        return self.judgement.passed

    @property
    def error_enters_at(self) -> LayerError | None:
        """The first layer that is not finite; else the one with the largest rise of relative L2 over the one before.

        None where no layer has more error than float32 itself (`FLOAT_TOLERANCE`).
        """
        for layer in self.layers:
            if not math.isfinite(layer.relative_l2):
                return layer
        if all(layer.relative_l2 <= FLOAT_TOLERANCE for layer in self.layers):
            return None
        before = (0.0, *(layer.relative_l2 for layer in self.layers))
        rises = [layer.relative_l2 - error for layer, error in zip(self.layers, before, strict=False)]
        return self.layers[int(np.argmax(rises))] if rises else None


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """All artefacts of one model on the same held-out samples. ``gate_overrides``: bounds the user chose, by name.

    ``num_different``: how many of the samples have a content of their own; None where that was not counted.
    """

    artefacts: tuple[ArtefactParity, ...]
    num_samples: int
    samples_source: str
    is_random_weights: bool
    is_random_data: bool
    gate_overrides: Mapping[str, float] = dataclasses.field(default_factory=dict)
    num_different: int | None = None

    @property
    def passed(self) -> bool:
        """Whether every artefact passed. A report on nothing has not."""
        return bool(self.artefacts) and all(artefact.passed for artefact in self.artefacts)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: numbers that JSON lacks are the strings ``nan``, ``inf`` and ``-inf``."""
        return {"passed": self.passed, **jsonable(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ParityReport:
        """Inverse of `to_dict`. Verdicts are derived again, never read.

        Raises:
            BadInputError: keys are missing, unknown or of the wrong type.
        """
        try:
            fields = {key: value for key, value in values.items() if key != "passed"}
            fields["artefacts"] = tuple(_artefact(artefact) for artefact in fields["artefacts"])
            fields["gate_overrides"] = {name: float(value) for name, value in fields["gate_overrides"].items()}
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInputError(
                "This is not a parity report.", expected="the contents of a parity.json", got=str(error)
            ) from error


class ParityError(GateError):
    """At least one artefact did not pass. ``report`` says which, by how much, and where the error enters."""

    def __init__(self, report: ParityReport, *, outcome: str) -> None:
        self.report = report
        failed = [artefact for artefact in report.artefacts if not artefact.passed]
        super().__init__(
            f"{len(failed)} of {len(report.artefacts)} artefacts failed the parity gate; {outcome}.",
            got="; ".join(map(_what_failed, failed)),
            fix="; ".join(dict.fromkeys(advice for artefact in failed for advice in _advice(artefact))),
        )


def _what_failed(artefact: ArtefactParity) -> str:
    failures = (f"{check.name} {check.value:.4g} (bound {check.bound})" for check in artefact.judgement.failures)
    entry = artefact.error_enters_at
    return f"{artefact.name}: {', '.join(failures)}" + (f", most of the error enters at {entry.name}" if entry else "")


def _advice(artefact: ArtefactParity) -> Iterator[str]:
    measured, failures = artefact.judgement.metrics, {check.name: check for check in artefact.judgement.failures}
    if any(name.startswith("output_") for name in failures):
        yield "an output does not follow its reference: more calibration samples, or dynamic or fp16 models"
    top1 = failures.get("top1_agreement")
    if top1 is not None and top1.at_least is not None and 1 / measured.num_samples > 1 - top1.at_least:
        yield f"one different answer of {measured.num_samples} fails the top-1 gate by itself: prove with more samples"
    if failures.keys() & {"sensitivity_ratio", "centred_cosine"} and measured.reference_variation < LOW_VARIATION:
        yield (
            f"the reference's own output varies by only {measured.reference_variation:.2%} over these samples, "
            "less than 8 bits resolve: prove with samples that differ more, or use fp16"
        )
    yield "see where the error grows layer by layer; more or other calibration samples, or another method, often help"


def jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, Check | Judgement | ArtefactParity):
            fields["passed"] = value.passed
        return fields
    if isinstance(value, Mapping):
        return {name: jsonable(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [jsonable(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _artefact(values: Mapping[str, Any]) -> ArtefactParity:
    judgement = values["judgement"]
    return ArtefactParity(
        name=values["name"],
        engine=values["engine"],
        precision=values["precision"],
        judgement=Judgement(
            metrics=_metrics(judgement["metrics"]),
            checks=tuple(Check(**_floats(check)) for check in judgement["checks"]),
        ),
        layers=tuple(LayerError(**_floats(layer)) for layer in values["layers"]),
        classes=tuple(map(int, values.get("classes", ()))),  # bundles made before this was kept have none
    )


def _metrics(values: Mapping[str, Any]) -> Metrics:
    fields = _floats(values)
    worst = fields.pop("worst_output", None)
    return Metrics(**fields, worst_output=None if worst is None else WorstOutput(**_floats(worst)))


def _floats(values: Mapping[str, Any]) -> dict[str, Any]:
    nan_to_float = {text: float(text) for text in ("nan", "inf", "-inf")}
    return {
        key: nan_to_float[value] if key != "name" and isinstance(value, str) else value
        for key, value in values.items()
        if key != "passed"
    }
