"""The report on all artefacts of a model, its JSON form, and the error that a failed gate is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perceiver_edge.errors import BadInputError, GateError, option
from perceiver_edge.proof.judgement import Check, Judgement
from perceiver_edge.proof.layers import LayerError, WorstLayer
from perceiver_edge.proof.metrics import FLOAT_TOLERANCE, Metrics
from perceiver_edge.proof.outputs import WorstOutput

LOW_VARIATION = 0.01
"""A reference that varies less than this over the samples varies by a few of the 255 steps of an int8 output."""


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
    def worst_layer(self) -> WorstLayer | None:
        """What was found when each layer was held to the model of its integers; None where that was not done."""
        found = (check for check in self.judgement.checks if check.where is not None)
        return next((WorstLayer(name=str(check.where), error=check.value) for check in found), None)

    @property
    def error_enters_at(self) -> LayerError | None:
        """The first layer that is not finite; else the one that does not compute what it should, if that gate failed;
        else the one with the largest rise of relative L2 over the one before.

        None where no layer has more error than float32 itself (`FLOAT_TOLERANCE`).
        """
        for layer in self.layers:
            if not math.isfinite(layer.relative_l2):
                return layer
        wrong = {check.where for check in self.judgement.failures}
        for layer in self.layers:
            if layer.name in wrong:
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
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
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
    failures = (
        f"{check.name} {check.value:.4g} (bound {check.bound})" + (f" at {check.where}" if check.where else "")
        for check in artefact.judgement.failures
    )
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
    if "above_chance" in failures:
        yield (
            f"the float model itself answers only {measured.reference_accuracy:.1%} of the labels: are they numbered "
            "as the model's classes are (from 0, in its order of names), and the samples prepared as in training? "
            "Where the model is no better, open the gate "
            f"({option('gates', {'above_chance': -1})})"
        )
        if len(failures) == 1:
            return
    if "layer_error" in failures:
        yield (
            "one layer computes something else than its integers: the converter or the engine has a fault there, and "
            "more samples do not help. Try the versions of the tools that perceiver_edge was tested with, and report it"
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
    for value in values.values():
        if isinstance(value, int):
            float(value)  # one that is too large for it could not be compared or printed
    return {
        key: nan_to_float[value] if key not in ("name", "where") and isinstance(value, str) else value
        for key, value in values.items()
        if key != "passed"
    }
