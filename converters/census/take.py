"""What is really inside an artefact: operators, their dtypes, GEMMs, float islands, bytes.

Both formats are read into one `Graph`; everything counted here is counted from that, so the words mean the same for
TFLite and for ONNX. A TFLite graph is the file's own. An ONNX graph is the one ONNX Runtime runs on this machine after
all its optimisations, because that is where an int8 model turns out to be float.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from perceiver_edge.converters.census.graph import FLOATS, INTEGER_WEIGHTS, Gemm, Graph, Operator, Tensor
from perceiver_edge.converters.points import is_tflite

__all__ = ["Census", "FloatIsland", "Gemm", "Operator", "Tensor", "census"]


@dataclass(frozen=True)
class FloatIsland:
    """Operators that run in float and hand float tensors to each other, inside an int8 model."""

    operators: Mapping[str, int]

    @property
    def size(self) -> int:
        return sum(self.operators.values())


@dataclass(frozen=True)
class Census:
    """The contents of one artefact.

    Attributes:
        format_version: TFLite schema version, or ONNX IR version.
        versions: TFLite: operator to the highest version used. ONNX: domain to opset.
        operators: operator to count, in the graph that runs.
        operators_by_dtype: operator to {dtype of its first input that is no constant: count}.
        file_operators: operator to count in the file itself; for TFLite the same as `operators`.
        gemms: those with a constant weight.
        float_islands: largest first; empty for a model without int8 GEMMs.
        custom_operators: TFLite only: operators that are no builtins; Flex ones start with ``Flex``.
        weights_dequantized_at_runtime: operators that turn an integer weight into float on every run.
        weight_bytes: dtype to bytes of constants in the file.
    """

    format: Literal["tflite", "onnx"]
    format_version: int
    versions: Mapping[str, int]
    operators: Mapping[str, int]
    operators_by_dtype: Mapping[str, Mapping[str, int]]
    file_operators: Mapping[str, int]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    gemms: tuple[Gemm, ...]
    float_islands: tuple[FloatIsland, ...]
    custom_operators: Mapping[str, int]
    quantize_count: int
    dequantize_count: int
    weights_dequantized_at_runtime: tuple[str, ...]
    weight_bytes: Mapping[str, int]

    @property
    def int8_gemm_share(self) -> float | None:
        """Share of the GEMMs with weights that run in int8, by count; None without such GEMMs."""
        return sum(gemm.is_int8 for gemm in self.gemms) / len(self.gemms) if self.gemms else None

    @property
    def int8_gemm_mac_share(self) -> float | None:
        """The same by multiply-accumulates; None where a shape is open or there is no such GEMM."""
        macs = [gemm.macs for gemm in self.gemms if gemm.macs is not None]
        if not macs or len(macs) < len(self.gemms):
            return None
        return sum(gemm.macs or 0 for gemm in self.gemms if gemm.is_int8) / sum(macs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the shares included."""
        return {
            **dataclasses.asdict(self),
            "int8_gemm_share": self.int8_gemm_share,
            "int8_gemm_mac_share": self.int8_gemm_mac_share,
        }


def census(model: bytes) -> Census:
    """Take stock of a TFLite or ONNX model.

    Raises:
        BadInputError: not a model, or a damaged one.
        MissingExtraError: ai-edge-litert, or onnx and onnxruntime, are not installed.
    """
    if is_tflite(model):
        from perceiver_edge.converters.census.tflite import read_tflite

        return _count(read_tflite(model))
    from perceiver_edge.converters.census.onnx import read_onnx

    return _count(read_onnx(model))


def _count(graph: Graph) -> Census:
    by_dtype: dict[str, Counter[str]] = {}
    for operator in graph.operators:
        by_dtype.setdefault(operator.kind, Counter())[_first_dtype(operator, graph.tensors)] += 1
    kinds = Counter(operator.kind for operator in graph.operators)
    return Census(
        format=graph.format,
        format_version=graph.format_version,
        versions=_sorted(graph.versions),
        operators=_sorted(kinds),
        operators_by_dtype={kind: _sorted(by_dtype[kind]) for kind in sorted(by_dtype)},
        file_operators=_sorted(graph.file_operators),
        inputs=graph.inputs,
        outputs=graph.outputs,
        gemms=tuple(graph.gemms.values()),
        float_islands=_float_islands(graph) if any(gemm.is_int8 for gemm in graph.gemms.values()) else (),
        custom_operators=_sorted(Counter(operator.kind for operator in graph.operators if operator.custom)),
        quantize_count=sum(kinds[kind] for kind in graph.quantizers),
        dequantize_count=sum(kinds[kind] for kind in graph.dequantizers),
        weights_dequantized_at_runtime=tuple(_dequantized_weights(graph)),
        weight_bytes=_sorted(graph.weight_bytes),
    )


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _first_dtype(operator: Operator, tensors: Mapping[str, Tensor]) -> str:
    flowing_in = [tensors[name] for name in operator.inputs if not tensors[name].constant]
    first = next(iter(flowing_in or (tensors[name] for name in operator.outputs)), None)
    return first.dtype if first else "none"


def _dequantized_weights(graph: Graph) -> Iterable[str]:
    for operator in graph.operators:
        if operator.kind in graph.dequantizers:
            source = graph.tensors[operator.inputs[0]]
            if source.constant and source.dtype in INTEGER_WEIGHTS:
                yield operator.name


def _float_islands(graph: Graph) -> tuple[FloatIsland, ...]:
    """Connected components, over float tensors, of the operators that compute in float."""
    int8_gemms = {key for key, gemm in graph.gemms.items() if gemm.is_int8}
    borders = graph.quantizers | graph.dequantizers
    members = [
        operator
        for operator in graph.operators
        if operator.kind not in borders
        and int8_gemms.isdisjoint(operator.outputs)
        and _computes_in_float(operator, graph)
    ]
    parent = list(range(len(members)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    producer = {name: i for i, operator in enumerate(members) for name in operator.outputs}
    for i, operator in enumerate(members):
        for name in operator.inputs:
            if name in producer and graph.tensors[name].dtype in FLOATS:
                parent[root(i)] = root(producer[name])
    islands: dict[int, Counter[str]] = {}
    for i, operator in enumerate(members):
        islands.setdefault(root(i), Counter())[operator.kind] += 1
    found = [FloatIsland(_sorted(counts)) for counts in islands.values()]
    return tuple(sorted(found, key=lambda island: (-island.size, tuple(island.operators.items()))))


def _computes_in_float(operator: Operator, graph: Graph) -> bool:
    """A float tensor flows in; constants do not count, for an integer operator's scales are float constants."""
    flowing_in = [graph.tensors[name] for name in operator.inputs if not graph.tensors[name].constant]
    return any(tensor.dtype in FLOATS for tensor in flowing_in)
