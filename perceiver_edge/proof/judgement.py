"""The verdict on one artefact: each metric held against its bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from perceiver_edge.proof import metrics
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.layers import WorstLayer
from perceiver_edge.proof.metrics import Metrics


@dataclass(frozen=True)
class Check:
    """One metric held against its bounds. A NaN never passes. ``where``: in which layer, if the metric is of one."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    where: str | None = None

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
    worst_layer: WorstLayer | None = None,
) -> Judgement:
    """Measure ``actual`` against ``reference`` and hold it to ``gates``; shapes and errors as in `metrics.measure`.

    ``worst_layer``: of an artefact whose layers were held to the model of their integers.
    """
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
        low, high = gates.sensitivity_min, gates.sensitivity_max
        candidates.append(Check(f"{name}_sensitivity_ratio", worst.sensitivity_ratio, at_least=low, at_most=high))
        candidates.append(Check(f"{name}_centred_cosine", worst.centred_cosine, at_least=gates.centred_cosine))
    if measured.top1_agreement is not None:
        candidates.append(Check("top1_agreement", measured.top1_agreement, at_least=gates.top1_agreement))
    if measured.accuracy is not None and measured.reference_accuracy is not None:
        ties = (measured.near_ties or 0) / measured.num_samples
        lost = max(measured.reference_accuracy - measured.accuracy - ties, 0.0)
        chance = by_chance(measured.num_samples, np.shape(reference)[1])
        candidates.append(Check("accuracy_lost", lost, at_most=gates.accuracy_lost))
        candidates.append(Check("above_chance", measured.reference_accuracy - chance, at_least=gates.above_chance))
    if worst_layer is not None:
        candidates.append(Check("layer_error", worst_layer.error, at_most=gates.layer_error, where=worst_layer.name))
    bounded = tuple(check for check in candidates if (check.at_least, check.at_most) != (None, None))
    return Judgement(metrics=measured, checks=bounded)


def by_chance(num_samples: int, num_classes: int) -> float:
    """The accuracy that guessing stays under in 97 of 100 tries: the mean of a binomial distribution and two standard
    deviations. All answers right are never chance."""
    share = 1 / num_classes
    return min(share + 2 * math.sqrt(share * (1 - share) / num_samples), 1.0)
