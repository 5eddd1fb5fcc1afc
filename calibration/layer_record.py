"""One line of a calibration file that tells the ranges inside of one layer: written, and read again."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, ClassVar, TypeVar

import numpy as np

from perceiver_edge.calibration.quant_params import Range
from perceiver_edge.errors import BadInputError

_Record = TypeVar("_Record", bound="LayerRecord")


class LayerRecord:
    """A dataclass of ranges, numbers, and one tuple of numbers.

    Attributes:
        layer: what the layer is called in a message, and ``numbers``: what it is made of besides ranges.
        fix: what to do about a line that is not usable.
        single: the fields that are one number. ``several``: the one that is a tuple of numbers. Others are ranges.
    """

    layer: ClassVar[str]
    numbers: ClassVar[str]
    fix: ClassVar[str]
    single: ClassVar[tuple[str, ...]] = ()
    several: ClassVar[str]

    def to_json(self) -> str:
        """One line."""
        values = {name: getattr(self, name) for name in _names(type(self))}
        return json.dumps({k: [v.min, v.max] if isinstance(v, Range) else v for k, v in values.items()}, default=plain)

    @classmethod
    def from_values(cls: type[_Record], name: str, values: Any, *, where: object) -> _Record:
        """The inverse of `to_json`, after JSON was parsed.

        Raises:
            BadInputError: keys or values that `to_json` does not write.
        """
        try:
            return cls(**cls._fields(values))
        except (TypeError, ValueError, OverflowError, BadInputError) as error:
            raise BadInputError(
                f"The {cls.layer} {name!r} in the calibration file is not usable.",
                expected=f"an object of {', '.join(sorted(_names(cls)))}: ranges [min, max], {cls.numbers}",
                where=where, fix=cls.fix,
            ) from error  # fmt: skip

    @classmethod
    def _fields(cls, values: Any) -> dict[str, Any]:
        fields = _names(cls)
        if set(values) != {*fields}:
            raise TypeError
        numbers = {key: (value,) if key in cls.single else tuple(value) for key, value in values.items()}
        if not all(type(number) in (int, float) for value in numbers.values() for number in value):
            raise TypeError
        found: dict[str, Any] = {}
        for key in fields:
            given = tuple(map(float, numbers[key]))
            found[key] = given if key == cls.several else given[0] if key in cls.single else Range(*given)
        return found


def _names(record: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(record)]


def plain(value: Any) -> Any:
    """For JSON: the number of Python's that a number of NumPy's is."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
