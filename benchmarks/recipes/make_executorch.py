"""ExecuTorch programs of perceiver-pytorch, lowered to XNNPACK: float32, and its PT2E quantiser, static and dynamic."""

from __future__ import annotations

from pathlib import Path

import executorch.kernels.quantized  # noqa: F401, it registers what is quantised and not delegated
import torch
from executorch.backends.xnnpack.partition.config.xnnpack_config import ConfigPrecisionType
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from executorch.exir import to_edge_transform_and_lower
from plain_torch import plain_module, tensors
from recipe import calibration, make
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e


def float32(work: Path, target: Path) -> None:
    _write(plain_module(work), work, target)


def static_int8(work: Path, target: Path) -> None:
    _write(_quantized(work, is_dynamic=False), work, target)


def dynamic_int8(work: Path, target: Path) -> None:
    """Its documentation's partitioner for this: operator by operator, so that each finds its own range."""
    partitioner = XnnpackPartitioner(config_precisions=ConfigPrecisionType.DYNAMIC_QUANT, per_op_mode=True)
    _write(_quantized(work, is_dynamic=True), work, target, partitioner, XnnpackPartitioner())


def _quantized(work: Path, *, is_dynamic: bool) -> torch.nn.Module:
    quantizer = XNNPACKQuantizer()
    quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=is_dynamic))
    prepared = prepare_pt2e(torch.export.export(plain_module(work), tensors(calibration(work)[0])).module(), quantizer)
    with torch.no_grad():
        for feeds in calibration(work):
            prepared(*tensors(feeds))
    return convert_pt2e(prepared)


def _write(module: torch.nn.Module, work: Path, target: Path, *partitioners: XnnpackPartitioner) -> None:
    program = torch.export.export(module, tensors(calibration(work)[0]))
    lowered = to_edge_transform_and_lower(program, partitioner=list(partitioners or (XnnpackPartitioner(),)))
    target.write_bytes(lowered.to_executorch().buffer)


if __name__ == "__main__":
    make({"executorch_fp32.pte": float32, "executorch_int8.pte": static_int8, "executorch_dynamic.pte": dynamic_int8})
