"""What calibration knows of a cross-attend's core that is to run in int8 (docs/lowering.md, the integer core)."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

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
        values = {
            field.name: [value.min, value.max] if isinstance(value := getattr(self, field.name), Range) else value
            for field in dataclasses.fields(self)
        }
        return json.dumps(values, default=plain)

    @staticmethod
    def from_values(name: str, values: Any, *, where: object) -> CoreRange:
        """The inverse of `to_json`, after JSON was parsed.

        Raises:
            BadInputError: keys or values that `to_json` does not write.
        """
        fields = {field.name for field in dataclasses.fields(CoreRange)}
        try:
            if set(values) != fields:
                raise TypeError
            numbers = {key: (value,) if key in _ERRORS else tuple(value) for key, value in values.items()}
            if not all(type(number) in (int, float) for value in numbers.values() for number in value):
                raise TypeError
            ranges = {key: Range(*map(float, numbers[key])) for key in fields - {*_ERRORS, "bound"}}
            return CoreRange(
                elu_error=float(values["elu_error"]), sigmoid_error=float(values["sigmoid_error"]),
                bound=tuple(map(float, numbers["bound"])), **ranges,
            )  # fmt: skip
        except (TypeError, ValueError, OverflowError, BadInputError) as error:
            raise BadInputError(
                f"The core {name!r} in the calibration file is not usable.",
                expected=f"an object of {', '.join(sorted(fields))}: ranges [min, max], two numbers, a list of numbers",
                where=where, fix="remove it, and this cross-attend keeps its float softmax, or calibrate again",
            ) from error  # fmt: skip


def plain(value: Any) -> Any:
    """For JSON: the number of Python's that a number of NumPy's is."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
