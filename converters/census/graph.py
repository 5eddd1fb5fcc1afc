"""The form into which the census reads both formats: a graph of operators and tensors, and its GEMMs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

INTEGER_WEIGHTS = frozenset({"int8", "uint8", "int4", "uint4"})
FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


@dataclass(frozen=True)
class Tensor:
    """A named tensor; ``shape`` is None where the file does not say, -1 in it an open size."""

    name: str
    shape: tuple[int, ...] | None
    dtype: str
    constant: bool = False


@dataclass(frozen=True)
class Operator:
    """One node. ``inputs`` and ``outputs`` are keys into `Graph.tensors`; ``custom`` marks what is no builtin."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    custom: bool = False


@dataclass(frozen=True)
class Gemm:
    """A matrix product (or convolution) whose right-hand side is a constant weight.

    Attributes:
        weight_dtype: as stored.
        activation_dtype: of the left-hand side as it enters the operator.
        dynamic: a float left-hand side is quantised inside the operator, anew on each run.
        macs: multiply-accumulates per run; None where a shape is open.
    """

    name: str
    kind: str
    weight_dtype: str
    activation_dtype: str
    weight_shape: tuple[int, ...]
    macs: int | None
    dynamic: bool = False

    @property
    def is_int8(self) -> bool:
        """Whether the products are integer products: neither side is turned into float first."""
        return self.weight_dtype in INTEGER_WEIGHTS and (self.dynamic or self.activation_dtype in INTEGER_WEIGHTS)


@dataclass(frozen=True)
class Graph:
    """What a format's reader hands over.

    ``gemms`` is keyed by the first output of the operator; ``quantizers`` and ``dequantizers`` are operator kinds.
    """

    format: Literal["tflite", "onnx"]
    format_version: int
    versions: Mapping[str, int]
    operators: tuple[Operator, ...]
    file_operators: Mapping[str, int]
    tensors: Mapping[str, Tensor]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    gemms: Mapping[str, Gemm]
    weight_bytes: Mapping[str, int]
    quantizers: frozenset[str]
    dequantizers: frozenset[str]


def product(sizes: Iterable[int] | None) -> int | None:
    """Elements of a shape; None where it, or a size of it, is unknown."""
    if sizes is None:
        return None
    total = 1
    for size in sizes:
        if size < 0:
            return None
        total *= size
    return total
