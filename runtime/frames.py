"""Arrays through a pipe: a line of JSON, then the arrays' bytes. Nothing is unpickled."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

Arrays = Mapping[str, np.ndarray]

_MOST_HEADER_BYTES = 1 << 20
MOST_ARRAY_BYTES = 1 << 32


def send(file: IO[bytes], header: Mapping[str, Any], arrays: Arrays) -> None:
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    described = [[name, array.dtype.str, list(array.shape)] for name, array in contiguous.items()]
    file.write(json.dumps({**header, "arrays": described}).encode() + b"\n")
    for array in contiguous.values():
        file.write(array.reshape(-1).data.cast("B") if array.size else b"")
    file.flush()


def receive(file: IO[bytes]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    line = file.readline(_MOST_HEADER_BYTES)
    if not line.endswith(b"\n"):
        raise EOFError
    header = json.loads(line)
    arrays = {}
    for name, dtype, shape in header.pop("arrays"):
        kind = np.dtype(dtype)
        size_bytes = math.prod(shape) * kind.itemsize
        if kind.hasobject or not 0 <= size_bytes <= MOST_ARRAY_BYTES:
            raise ValueError(f"{dtype} {shape}")
        content = file.read(size_bytes)
        if len(content) != size_bytes:
            raise EOFError
        arrays[name] = np.frombuffer(content, kind).reshape(shape).copy()
    return header, arrays
