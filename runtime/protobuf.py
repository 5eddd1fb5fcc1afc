"""The outer structure of a protobuf message, without the library: a device has none."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Wire types of protobuf; those of a fixed length with it."""


def fields(message: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """(number, bytes) of each field of a protobuf message; numbers have no bytes. Where the message is damaged the last
    field's bytes are None."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        length = _FIXED.get(wire, 0)
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire == _VARINT:
            _, at = _varint(message, at)
        is_whole = number > 0 and wire in (_BYTES, _VARINT, *_FIXED) and at + length <= len(message)
        yield number, message[at : at + length] if is_whole else None
        if not is_whole:
            return
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """(value, where the next field begins): past the end where it is cut short or too long."""
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    return 0, len(message) + 1
