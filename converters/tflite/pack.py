"""From the schema's objects to a TFLite file, its constants inside of the flatbuffer and at its end."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FILE_IDENTIFIER = b"TFL3"

MOST_BYTES = 2**31 - 1
"""Of a flatbuffer. Larger models keep their constants beside it, which runtimes before TensorFlow 2.15 cannot read."""

_DATA_SLOT = 4
"""Where the vtable of a Buffer has its data: field 0 of the TFLite schema, after two header entries."""

_ALIGNMENT_BYTES = 16
"""Of the data of a Buffer, says the schema; flatbuffers' own Python does not see to it."""


def pack(model: schema.ModelT) -> bytes:
    """The file. ``model`` comes back as it was; constants are arrays of any dtype, C-contiguous.

    The data is appended to the flatbuffer, because its offsets are relative and reach forward: it is copied once.
    """
    arrays = {
        index: buffer.data for index, buffer in enumerate(model.buffers) if buffer.data is not None and len(buffer.data)
    }
    for index in arrays:
        model.buffers[index].data = np.zeros(1, np.uint8)  # gives the buffer a field for its data
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    for index, array in arrays.items():
        model.buffers[index].data = array
    return _appended(builder.Output(), arrays)


def _appended(model: bytearray, arrays: Mapping[int, np.ndarray]) -> bytes:
    """The model with the data of these buffers, by index, at its end."""
    root: Any = schema.Model.GetRootAs(model, 0)
    parts: list[bytearray | bytes | memoryview] = [model]
    size = len(model)
    for index, array in arrays.items():
        table = root.Buffers(index)._tab
        field = table.Pos + table.Offset(_DATA_SLOT)
        length = struct.pack("<I", array.nbytes)
        padding = bytes(-(size + len(length)) % _ALIGNMENT_BYTES)
        struct.pack_into("<I", model, field, size + len(padding) - field)
        parts += [padding, length, array.data.cast("B")]
        size += len(padding) + len(length) + array.nbytes
    return b"".join(parts)
