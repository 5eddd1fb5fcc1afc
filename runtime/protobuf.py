"""The outer structure of a protobuf message, without the library: a device has none."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _BYTES, _GROUP, _END_GROUP = 0, 2, 3, 4
_FIXED = {1: 8, 5: 4}
"""Wire types of protobuf; those of a fixed length with it."""


def fields(message: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """(number, bytes) of each field of a protobuf message; numbers have no bytes. Groups are left out: an old form that
    ONNX has none of and its parser skips. Where the message is damaged the last field's bytes are None."""
    at, groups = 0, 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        length = _FIXED.get(wire, 0)
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire == _VARINT:
            _, at = _varint(message, at)
        elif wire in (_GROUP, _END_GROUP):
            groups += 1 if wire == _GROUP else -1
        is_known = wire in (_BYTES, _VARINT, _GROUP, _END_GROUP, *_FIXED)
        is_whole = number > 0 and is_known and groups >= 0 and at + length <= len(message)
        if not is_whole:
            yield number, None
            return
        if not groups and wire != _END_GROUP:
            yield number, message[at : at + length]
        at += length
    if groups:
        yield 0, None


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
