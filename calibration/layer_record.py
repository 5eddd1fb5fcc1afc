"""One line of a calibration file that tells the ranges inside of one layer: written, and read again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from typing import Any

import numpy as np

from perceiver_edge.calibration.quant_params import Range


def to_line(record: Any) -> str:
    """A dataclass of ranges, numbers and tuples of numbers, as JSON."""
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return json.dumps({k: [v.min, v.max] if isinstance(v, Range) else v for k, v in values.items()}, default=plain)


def fields_of(record: type, values: Any, *, single: Collection[str] = (), several: str) -> dict[str, Any]:
    """What ``record`` is made from: the inverse of `to_line`, after JSON was parsed.

    Args:
        single: the fields that are one number. ``several``: the one that is a tuple of numbers. Others are ranges.

    Raises:
        TypeError, ValueError, OverflowError, BadInputError: keys or values that `to_line` does not write.
    """
    fields = {field.name for field in dataclasses.fields(record)}
    if set(values) != fields:
        raise TypeError
    numbers = {key: (value,) if key in single else tuple(value) for key, value in values.items()}
    if not all(type(number) in (int, float) for value in numbers.values() for number in value):
        raise TypeError
    found: dict[str, Any] = {}
    for key in fields:
        given = tuple(map(float, numbers[key]))
        found[key] = given if key == several else given[0] if key in single else Range(*given)
    return found


def plain(value: Any) -> Any:
    """For JSON: the number of Python's that a number of NumPy's is."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
