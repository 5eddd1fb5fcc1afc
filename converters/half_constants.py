"""Which constants an int8 or dynamic-range file keeps in half precision: tables that are added or multiplied.

Positions, the statistics of them, learned rows, and the constant queries of float cores stay float32 in a quantised
model, for they are no weights of a product. In a small model with long inputs they are most of the file: of 4,096 bytes
of text 0.26 of 0.96 MB. float16 rounds a value by at most 2⁻¹¹ of it, and one below 6e-5, which is subnormal there, by
at most 3e-8. That is little beside a step of int8. Both engines make float32 of them again when they load the file, so
that no inference takes longer. Not beside int8 cores: of an average over all tokens it changed 0.01, because tokens are
rounded to int8 there, and some then take the other step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", np.float16, np.float32)

LEAST_BYTES, LEAST_SHARE = 16_000, 0.05
"""Of float32, and of the file: what is smaller saves nothing that one sees. Where attention is sharp, learned rows in
half precision moved a layer of a model by 0.008, and were one hundredth of its file."""

MOST_BYTES = 8 << 20
"""Of float32. Larger ones would cost memory: an engine reads float32 from the file as it lies there."""


def halved(values: NDArray[np.float32], *, file_bytes: int) -> NDArray[np.float16] | None:
    """The constant as it is stored in a file of so many bytes; None if it is to stay float32."""
    if not max(LEAST_BYTES, LEAST_SHARE * file_bytes) <= values.nbytes <= MOST_BYTES:
        return None
    half = _rounded(values)
    return half if np.isfinite(half).all() else None


def as_stored(
    values: NDArray[np.floating],
    tables: Sequence[NDArray[np.float16]],
    whole: Sequence[NDArray[np.float32]] = (),
) -> NDArray[np.floating]:
    """An array as a file computes with it that stores these ``tables`` in half precision, and ``whole`` ones not.

    The array is in one of them if all its numbers are, once rounded: converters may have transposed it, repeated it, or
    put others beside it. So which arrays are rounded is read from the file, and to what is not. A large table has most
    numbers that a small array may have, once rounded: what the file has in float32, number by number, is not rounded.
    """
    if not tables or values.size > MOST_BYTES // 4:
        return values
    half = _rounded(values)
    if _is_in_one(half, tables) and not _is_in_one(values.astype(np.float32), whole):
        return half.astype(values.dtype)
    return values


def _is_in_one(values: NDArray[np.floating], constants: Sequence[NDArray[np.floating]]) -> bool:
    numbers = np.unique(values)
    return any(np.isin(numbers, constant, kind="sort").all() for constant in constants if constant.size >= numbers.size)


def _rounded(values: NDArray[np.floating]) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        return values.astype(np.float16)
