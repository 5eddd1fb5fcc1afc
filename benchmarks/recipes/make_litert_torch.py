"""litert-torch's TFLite file of a plain torch module, and ai-edge-quantizer's int8 weights in it."""

from __future__ import annotations

from pathlib import Path

import litert_torch
from ai_edge_quantizer import quantizer
from ai_edge_quantizer import recipe as quantization
from plain_torch import plain_module, tensors
from recipe import calibration, make

FLOAT = "litert_fp32.tflite"


def float32(work: Path, target: Path) -> None:
    example = calibration(work)[0]
    named = dict(zip(example, tensors(example), strict=True))
    litert_torch.convert(plain_module(work), sample_kwargs=named).export(str(target))


def dynamic(work: Path, target: Path) -> None:
    """Its own recipe: weights in int8, activations rounded at run time."""
    quantize = quantizer.Quantizer(str(work / FLOAT), quantization.dynamic_wi8_afp32())
    quantize.quantize().export_model(str(target))


if __name__ == "__main__":
    make({FLOAT: float32, "litert_dynamic.tflite": dynamic})
