"""Is it a TFLite or an ONNX model, or what else? By its outer structure, before an engine sees it."""

from __future__ import annotations

from typing import Literal

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime.protobuf import fields

Format = Literal["tflite", "onnx"]

_GRAPH = 7
_FIELDS_OF_A_MODEL = {1, 2, 3, 4, 5, 6, _GRAPH, 8, 14, 20, 25, 26}
"""Of ONNX's ModelProto, to IR version 13."""

_OTHERS = {
    b"PK\x03\x04": "a zip file, such as a .keras, .npz or PyTorch file",
    b"\x89HDF\r\n": "an HDF5 file, such as a Keras .h5",
    b"\x80\x02": "a Python pickle", b"\x80\x04": "a Python pickle", b"\x80\x05": "a Python pickle",
    b"version https://git-lfs": "a pointer of Git LFS: run `git lfs pull`",
    b"\x93NUMPY": "a NumPy array", b"\x1f\x8b": "a gzip file: unpack it first", b"\x89PNG": "a picture",
    b"<": "a text, such as a web page that was downloaded in the model's place", b"{": "a JSON text",
}  # fmt: skip


def is_tflite(content: bytes) -> bool:
    """Whether the bytes carry the FlatBuffer file identifier of a TFLite model."""
    return content[4:8] == b"TFL3"


def format_of(content: bytes, where: object) -> Format:
    """
    Raises:
        BadInputError: neither; the message says what it is where that is known.
    """
    if is_tflite(content):
        return "tflite"
    if _is_onnx(content):
        return "onnx"
    got = next((what for start, what in _OTHERS.items() if content.startswith(start)), None)
    raise BadInputError(
        "This is neither a TFLite nor an ONNX model, or it is cut short.", expected="a whole .tflite or .onnx file",
        got=got or f"{len(content):,} bytes that begin with {bytes(content[:8])!r}", where=where,
    )  # fmt: skip


def _is_onnx(content: bytes) -> bool:
    """Whether it is a sequence of ModelProto's fields, to the last byte, and one is the graph."""
    numbers = set()
    for number, value in fields(memoryview(content)):
        if number not in _FIELDS_OF_A_MODEL or value is None:
            return False
        numbers.add(number)
    return _GRAPH in numbers
