"""Which artefacts a command makes, and making them, format by format."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perceiver_edge.cache import NO_CACHE, Cache
from perceiver_edge.memory import give_back_memory

if TYPE_CHECKING:
    from onnx import ModelProto

    from perceiver_edge.calibration import Range
    from perceiver_edge.converters.trace import Traced

FORMATS = ("tflite", "onnx")
QUANTIZE = ("none", "fp16", "dynamic", "int8")
"""What ``--quantize`` takes; ``none`` makes the float32 models only."""


@dataclass(frozen=True)
class Kind:
    """``format``: tflite or onnx; ``precision``: fp32, fp16, dynamic or int8."""

    format: str
    precision: str

    def file_name(self, model_name: str) -> str:
        return f"{model_name}_{self.precision}.{self.format}"


def planned_kinds(*, quantize: str, formats: tuple[str, ...], only: bool) -> tuple[Kind, ...]:
    """The artefacts to publish: the float32 peer of each quantised model is one of them unless ``only``."""
    precisions = ["fp32"] if quantize == "none" else ([] if only else ["fp32"]) + [quantize]
    return tuple(Kind(format_, precision) for format_ in formats for precision in precisions)


def build(
    traced: Traced,
    kinds: tuple[Kind, ...],
    *,
    ranges: Mapping[str, Range] | None,
    opset: int,
    cache: Cache = NO_CACHE,
) -> dict[Kind, bytes]:
    """Convert and quantise.

    Args:
        ranges: by quantisation point; needed for int8, and the same for both formats.
        cache: of this model's results: its basis tells models apart.

    Raises:
        ConversionError: a model cannot be expressed in the format, or sites and ranges do not match.
    """
    limits = {name: (value.min, value.max) for name, value in (ranges or {}).items()}
    inputs = [(name, list(shape)) for name, shape in traced.input_shapes.items()]
    artefacts: dict[Kind, bytes] = {}
    for format_ in dict.fromkeys(kind.format for kind in kinds):
        give_back_memory()
        make = _tflite(traced, limits) if format_ == "tflite" else _onnx(traced, limits, opset)
        for kind in (kind for kind in kinds if kind.format == format_):
            used = limits if kind.precision == "int8" else None
            parts = ["artefact", inputs, kind.format, kind.precision, opset, used]
            artefacts[kind] = cache.cached(parts, functools.partial(make, kind.precision))
    return artefacts


def _tflite(traced: Traced, limits: Mapping[str, tuple[float, float]]) -> Callable[[str], bytes]:
    """What makes the model of a precision; all come from one float model, made when the first needs it."""

    @functools.cache
    def model() -> bytes:
        from perceiver_edge.converters.tflite import to_tflite

        return to_tflite(traced)

    def make(precision: str) -> bytes:
        from perceiver_edge.converters.tflite_quantize import tflite_dynamic, tflite_fp16, tflite_int8
        from perceiver_edge.runtime._quiet import without_notices

        makers: dict[str, Callable[[], bytes]] = {
            "fp32": model,
            "fp16": lambda: tflite_fp16(model()),
            "dynamic": lambda: tflite_dynamic(model()),
            "int8": lambda: tflite_int8(model(), limits),
        }
        with without_notices():  # the quantiser runs an interpreter of its own
            return makers[precision]()

    return make


def _onnx(traced: Traced, limits: Mapping[str, tuple[float, float]], opset: int) -> Callable[[str], bytes]:
    """See `_tflite`."""

    @functools.cache
    def model() -> ModelProto:
        from perceiver_edge.converters.onnx import to_onnx

        return to_onnx(traced, opset=opset)

    def make(precision: str) -> bytes:
        from perceiver_edge.converters.onnx_quantize import onnx_dynamic, onnx_fp16, onnx_int8

        makers: dict[str, Callable[[], ModelProto]] = {
            "fp32": model,
            "fp16": lambda: onnx_fp16(model()),
            "dynamic": lambda: onnx_dynamic(model()),
            "int8": lambda: onnx_int8(model(), limits),
        }
        return makers[precision]().SerializeToString()

    return make
