"""What calibration knows of attention among rows whose products are to run in int8 (docs/lowering.md, the row core)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from perceiver_edge.calibration.layer_record import LayerRecord
from perceiver_edge.calibration.quant_params import MOST_MAGNITUDE, Range
from perceiver_edge.errors import BadInputError


class _SelfAttend(LayerRecord):
    layer: ClassVar[str] = "self-attend"
    numbers: ClassVar[str] = "numbers and lists of numbers"


@dataclass(frozen=True, kw_only=True)
class RowLayer(_SelfAttend):
    """What all uses of one self-attend share, since they share its weights.

    Args:
        means: about the means of keys and of values, by which they are centred ``[heads * channels]``.
        queries: of the queries. ``keys``, ``values``: centred, and values also shifted. ``attended``: of the centred
            result.

    Raises:
        BadInputError: a number that is not finite.
    """

    fix: ClassVar[str] = "remove it and the lines of its uses, and these self-attends stay in float, or calibrate again"
    several: ClassVar[str] = "means"

    means: tuple[float, ...]
    queries: Range
    keys: Range
    values: Range
    attended: Range

    def __post_init__(self) -> None:
        _require_finite(*self.means)


@dataclass(frozen=True, kw_only=True)
class RowRange(_SelfAttend):
    """Ranges inside one use of a self-attend.

    Args:
        error: what int8 loses, estimated: relative L2 of what is attended to.
        shift: what is taken from values besides the layer's mean ``[heads * channels]``, empty if nothing is.
        scores: from where on they count. ``weighted``: of the weighted sums of values.

    Raises:
        BadInputError: a number that is not finite.
    """

    fix: ClassVar[str] = "remove it, and this self-attend stays in float, or calibrate again"
    single: ClassVar[tuple[str, ...]] = ("error",)
    several: ClassVar[str] = "shift"

    error: float
    shift: tuple[float, ...]
    scores: Range
    weighted: Range

    def __post_init__(self) -> None:
        _require_finite(self.error, *self.shift)


def _require_finite(*numbers: float) -> None:
    if not all(abs(number) <= MOST_MAGNITUDE for number in numbers):  # NaN is not
        raise BadInputError("A self-attend's calibration is not usable.", expected="finite numbers")
