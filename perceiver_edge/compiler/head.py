"""May the last product of an int8 model run in int8? All outputs share its one scale.

Outputs of a regression have units of their own, and one that is small beside another, or that varies little about a
large mean, falls between two steps: it becomes a constant, while every figure over all outputs together looks well.
Then the last product stays in float. It is the smallest of all products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from perceiver_edge.calibration import Range, Sample, quant_params
from perceiver_edge.lowering import Decision
from perceiver_edge.proof.outputs import task_of, varying

LEAST_STEPS = 64.0
"""Steps that the range of every output has to span. The rounding error of a uniform output of n steps is 1/n of its
standard deviation: 1.6 % here, no more than the int8 products before it cost."""


class HeadObserver:
    """Keeps the outputs of the samples that calibration shows."""

    def __init__(self, survey: Callable[[Sample], tuple[Mapping[str, np.ndarray], Any]], point: str) -> None:
        self._survey, self._point = survey, point
        self._rows: list[np.ndarray] = []

    def survey(self, sample: Sample) -> tuple[Mapping[str, np.ndarray], Any]:
        points, extents = self._survey(sample)
        if self._point in points:
            self._rows.append(points[self._point].reshape(-1))
        return points, extents

    @property
    def outputs(self) -> np.ndarray | None:
        """``[samples, outputs]``, or None where the model has no such point."""
        return np.stack(self._rows) if self._rows else None


def decide_head(outputs: np.ndarray | None, whole: Range | None, *, task: str | None, has_labels: bool) -> Decision:
    """Whether the last product stays in float, and why.

    Args:
        outputs: of the calibration's samples, ``[samples, outputs]``; None for a model without a last product.
        whole: the range of all outputs together.
        task: one of `proof.outputs.TASKS`, or None for what the outputs look like.
    """
    if outputs is None or whole is None:
        return Decision("float_head", False, "the outputs are latents")
    if (task or task_of(outputs, has_labels=has_labels)) == "classification":
        return Decision("float_head", False, "the outputs are scores of classes: one scale serves them all")
    extents = np.ptp(outputs.astype(np.float64), axis=0)[varying(outputs.astype(np.float64))]
    steps = float(extents.min() / quant_params(whole).scale) if len(extents) else float("inf")
    reason = f"the outputs are values, and the smallest spans {steps:.3g} of the 255 steps that all share"
    return Decision("float_head", steps < LEAST_STEPS, f"{reason} ({LEAST_STEPS:g} are enough)")


def without_head(points: Mapping[str, Range], site: str) -> dict[str, Range]:
    """The quantisation points but for those of the last product, which then stays in float."""
    return {name: value for name, value in points.items() if name.rsplit(".", 1)[0] != site}


def float_sites(points: Sequence[str], ranges: Mapping[str, Range]) -> tuple[str, ...]:
    """The products that stay in float: the calibration has no range for their points."""
    return tuple(dict.fromkeys(point.rsplit(".", 1)[0] for point in points if point not in ranges))
