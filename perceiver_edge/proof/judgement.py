"""The verdict on one artefact: each metric held against its bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.typing import ArrayLike

from perceiver_edge.proof import metrics
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.metrics import Metrics


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
