"""Reading tables of a FlatBuffer, without the library: a device has none. What points outside raises ValueError."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray


class Table:
    """A table at a place in a buffer; its fields are numbered from 0 in the order of the schema."""

    def __init__(self, content: memoryview, at: int) -> None:
        self._content, self._at = content, at
        self._fields = at - _number(content, at, "<i")
        self._size = _number(content, self._fields, "<H")

    @classmethod
    def root(cls, content: memoryview) -> Table:
        return cls(content, _number(content, 0, "<I"))

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """``kind``: as `struct` writes it, such as ``"<i"``."""
        place = self._place(field)
        return _number(self._content, place, kind) if place else default

    def vector(self, field: int, dtype: str) -> NDArray[np.generic]:
        """Its numbers; empty where there is none."""
        place = self._place(field)
        if not place:
            return np.empty(0, dtype)
        start, count = self._follow(place)
        size = np.dtype(dtype).itemsize
        if start + count * size > len(self._content):
            raise ValueError("a vector reaches past the end")
        return np.frombuffer(self._content[start : start + count * size], dtype)

    def tables(self, field: int) -> list[Table]:
        places = self.vector(field, "<u4")
        if not len(places):
            return []
        start, _ = self._follow(self._place(field))
        return [Table(self._content, start + 4 * index + int(place)) for index, place in enumerate(places)]

    def table(self, field: int) -> Table | None:
        place = self._place(field)
        return Table(self._content, place + _number(self._content, place, "<I")) if place else None

    def _follow(self, place: int) -> tuple[int, int]:
        """(where the vector's elements begin, how many there are)."""
        at = place + _number(self._content, place, "<I")
        return at + 4, _number(self._content, at, "<I")

    def _place(self, field: int) -> int:
        """0 where the field is left out."""
        entry = 4 + 2 * field
        offset = _number(self._content, self._fields + entry, "<H") if entry + 2 <= self._size else 0
        return self._at + offset if offset else 0


def _number(content: memoryview, at: int, kind: str) -> int:
    if not 0 <= at <= len(content) - struct.calcsize(kind):
        raise ValueError("an offset points outside of the file")
    (value,) = struct.unpack_from(kind, content, at)
    return int(value)
