"""What calibration knows of attention among rows whose products are to run in int8 (docs/lowering.md, the row core)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from perceiver_edge.calibration.layer_record import fields_of, to_line
from perceiver_edge.calibration.quant_params import MOST_MAGNITUDE, Range
from perceiver_edge.errors import BadInputError

_Record = TypeVar("_Record", "RowLayer", "RowRange")


@dataclass(frozen=True, kw_only=True)
class RowLayer:
    """What all uses of one self-attend share, since they share its weights.

    Args:
        means: about the means of keys and of values, by which they are centred ``[heads * channels]``.
        queries: of the queries. ``keys``, ``values``: centred, and values also shifted. ``attended``: of the centred
            result.

    Raises:
        BadInputError: a number that is not finite.
    """

    means: tuple[float, ...]
    queries: Range
    keys: Range
    values: Range
    attended: Range

    def __post_init__(self) -> None:
        _require_finite(*self.means)

    def to_json(self) -> str:
        """One line."""
        return to_line(self)

    @staticmethod
    def from_values(name: str, values: Any, *, where: object) -> RowLayer:
        """The inverse of `to_json`, after JSON was parsed.

        Raises:
            BadInputError: keys or values that `to_json` does not write.
        """
        fix = "remove it and the lines of its uses, and these self-attends stay in float, or calibrate again"
        return _read(RowLayer, lambda: fields_of(RowLayer, values, several="means"), name, where, fix)


@dataclass(frozen=True, kw_only=True)
class RowRange:
    """Ranges inside one use of a self-attend.

    Args:
        error: what int8 loses, estimated: relative L2 of what is attended to.
        shift: what is taken from values besides the layer's mean ``[heads * channels]``, empty if nothing is.
        scores: from where on they count. ``weighted``: of the weighted sums of values.

    Raises:
        BadInputError: a number that is not finite.
    """

    error: float
    shift: tuple[float, ...]
    scores: Range
    weighted: Range

    def __post_init__(self) -> None:
        _require_finite(self.error, *self.shift)

    def to_json(self) -> str:
        """One line."""
        return to_line(self)

    @staticmethod
    def from_values(name: str, values: Any, *, where: object) -> RowRange:
        """The inverse of `to_json`, after JSON was parsed.

        Raises:
            BadInputError: keys or values that `to_json` does not write.
        """
        fix = "remove it, and this self-attend stays in float, or calibrate again"
        return _read(
            RowRange, lambda: fields_of(RowRange, values, single=("error",), several="shift"), name, where, fix
        )


def _require_finite(*numbers: float) -> None:
    if not all(abs(number) <= MOST_MAGNITUDE for number in numbers):  # NaN is not
        raise BadInputError("A self-attend's calibration is not usable.", expected="finite numbers")


def _read(record: type[_Record], fields: Callable[[], dict[str, Any]], name: str, where: object, fix: str) -> _Record:
    try:
        return record(**fields())
    except (TypeError, ValueError, OverflowError, BadInputError) as error:
        raise BadInputError(
            f"The self-attend {name!r} in the calibration file is not usable.",
            expected=f"an object of {', '.join(sorted(field.name for field in dataclasses.fields(record)))}: ranges "
            "[min, max], numbers and lists of numbers",
            where=where, fix=fix,
        ) from error  # fmt: skip
