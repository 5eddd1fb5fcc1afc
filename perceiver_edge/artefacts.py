"""Which artefacts a command makes, and making them: format by format, the float model first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    traced: Traced, kinds: tuple[Kind, ...], *, ranges: Mapping[str, Range] | None, opset: int
) -> dict[Kind, bytes]:
    """Convert and quantise.

    Args:
        ranges: by quantisation point; needed for int8, and the same for both formats.

    Raises:
        ConversionError: a model cannot be expressed in the format, or sites and ranges do not match.
    """
    limits = {name: (value.min, value.max) for name, value in (ranges or {}).items()}
    artefacts: dict[Kind, bytes] = {}
    for format_ in dict.fromkeys(kind.format for kind in kinds):
        precisions = [kind.precision for kind in kinds if kind.format == format_]
        make = _tflite if format_ == "tflite" else _onnx
        made = make(traced, precisions, limits, opset)
        artefacts |= {Kind(format_, precision): content for precision, content in made.items()}
    return artefacts


def _tflite(
    traced: Traced, precisions: list[str], limits: Mapping[str, tuple[float, float]], _opset: int
) -> dict[str, bytes]:
    from perceiver_edge.converters.tflite import to_tflite
    from perceiver_edge.converters.tflite_quantize import tflite_dynamic, tflite_fp16, tflite_int8
    from perceiver_edge.runtime._quiet import without_notices

    model = to_tflite(traced)
    makers = {
        "fp32": lambda: model,
        "fp16": lambda: tflite_fp16(model),
        "dynamic": lambda: tflite_dynamic(model),
        "int8": lambda: tflite_int8(model, limits),
    }
    with without_notices():  # the quantiser runs an interpreter of its own
        return {precision: makers[precision]() for precision in precisions}


def _onnx(
    traced: Traced, precisions: list[str], limits: Mapping[str, tuple[float, float]], opset: int
) -> dict[str, bytes]:
    from perceiver_edge.converters.onnx import to_onnx
    from perceiver_edge.converters.onnx_quantize import onnx_dynamic, onnx_fp16, onnx_int8

    model = to_onnx(traced, opset=opset)
    makers = {
        "fp32": lambda: model,
        "fp16": lambda: onnx_fp16(model),
        "dynamic": lambda: onnx_dynamic(model),
        "int8": lambda: onnx_int8(model, limits),
    }
    return {precision: makers[precision]().SerializeToString() for precision in precisions}
