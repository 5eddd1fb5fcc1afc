"""What calibration knows of a cross-attend's core that is to run in int8 (docs/lowering.md, the integer core)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from perceiver_edge.calibration.layer_record import LayerRecord
from perceiver_edge.calibration.quant_params import MOST_MAGNITUDE, Range
from perceiver_edge.errors import BadInputError


@dataclass(frozen=True, kw_only=True)
class CoreRange(LayerRecord):
    """Ranges inside one cross-attend, and the constant that its scores are lowered by.

    Args:
        elu_error, sigmoid_error: what int8 loses in each form, estimated: relative L2 of what is attended to.
        query: of all queries. ``context``, ``mean``: of the centred context and of its mean over tokens.
        keys, values: of the centred keys and values. ``mean_value``: of the value projection of the context's mean.
        weighted, total: of one chunk's weighted sum of values, and of its sum of elu(score).
        bound: largest score of each row plus `cores.MARGIN`, ``[groups * rows]``.

    Raises:
        BadInputError: a number that is not finite, or no bound.
    """

    layer: ClassVar[str] = "core"
    numbers: ClassVar[str] = "two numbers, a list of numbers"
    fix: ClassVar[str] = "remove it, and this cross-attend keeps its float softmax, or calibrate again"
    single: ClassVar[tuple[str, ...]] = ("elu_error", "sigmoid_error")
    several: ClassVar[str] = "bound"

    elu_error: float
    sigmoid_error: float
    query: Range
    context: Range
    mean: Range
    keys: Range
    values: Range
    mean_value: Range
    weighted: Range
    total: Range
    bound: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.bound or not all(abs(value) <= MOST_MAGNITUDE for value in (*self.errors.values(), *self.bound)):
            raise BadInputError("A core's calibration is not usable.", expected="finite numbers, at least one bound")

    @property
    def errors(self) -> dict[str, float]:
        """By the function that computes exp, as `lowering.program.Exponential` names it."""
        return {"elu": self.elu_error, "sigmoid": self.sigmoid_error}
