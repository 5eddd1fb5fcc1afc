"""What calibration knows of attention among rows whose products are to run in int8 (docs/lowering.md, the row core)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from perceiver_edge.calibration.layer_record import fields_of, to_line
from perceiver_edge.calibration.quant_params import MOST_MAGNITUDE, Range
from perceiver_edge.errors import BadInputError


@dataclass(frozen=True, kw_only=True)
class RowRange:
    """Ranges inside one self-attend.

    Args:
        error: what int8 loses, estimated: relative L2 of what is attended to.
        means: about the means of keys and of values, by which they are centred ``[heads * channels]``.
        queries: of the queries. ``keys``, ``values``: centred. ``scores``: from where on they count.
        weighted: of the weighted sums of values. ``attended``: of the centred result.

    Raises:
        BadInputError: a number that is not finite.
    """

    error: float
    means: tuple[float, ...]
    queries: Range
    keys: Range
    values: Range
    scores: Range
    weighted: Range
    attended: Range

    def __post_init__(self) -> None:
        if not all(abs(value) <= MOST_MAGNITUDE for value in (self.error, *self.means)):  # NaN is not
            raise BadInputError("A self-attend's calibration is not usable.", expected="finite numbers", got=self.error)

    def to_json(self) -> str:
        """One line."""
        return to_line(self)

    @staticmethod
    def from_values(name: str, values: Any, *, where: object) -> RowRange:
        """The inverse of `to_json`, after JSON was parsed.

        Raises:
            BadInputError: keys or values that `to_json` does not write.
        """
        keys = ", ".join(sorted(field.name for field in dataclasses.fields(RowRange)))
        try:
            return RowRange(**fields_of(RowRange, values, single=("error",), several="means"))
        except (TypeError, ValueError, OverflowError, BadInputError) as error:
            raise BadInputError(
                f"The self-attend {name!r} in the calibration file is not usable.",
                expected=f"an object of {keys}: ranges [min, max], a number and a list of numbers",
                where=where, fix="remove it, and this self-attend stays in float, or calibrate again",
            ) from error  # fmt: skip
