"""What calibration knows of a cross-attend's core that is to run in int8 (docs/lowering.md, the integer core)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from perceiver_edge.calibration.layer_record import fields_of, to_line
from perceiver_edge.calibration.quant_params import MOST_MAGNITUDE, Range
from perceiver_edge.errors import BadInputError

_ERRORS = ("elu_error", "sigmoid_error")


@dataclass(frozen=True, kw_only=True)
class CoreRange:
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

    def to_json(self) -> str:
        """One line."""
        return to_line(self)

    @staticmethod
    def from_values(name: str, values: Any, *, where: object) -> CoreRange:
        """The inverse of `to_json`, after JSON was parsed.

        Raises:
            BadInputError: keys or values that `to_json` does not write.
        """
        keys = ", ".join(sorted(field.name for field in dataclasses.fields(CoreRange)))
        try:
            return CoreRange(**fields_of(CoreRange, values, single=_ERRORS, several="bound"))
        except (TypeError, ValueError, OverflowError, BadInputError) as error:
            raise BadInputError(
                f"The core {name!r} in the calibration file is not usable.",
                expected=f"an object of {keys}: ranges [min, max], two numbers, a list of numbers",
                where=where, fix="remove it, and this cross-attend keeps its float softmax, or calibrate again",
            ) from error  # fmt: skip
