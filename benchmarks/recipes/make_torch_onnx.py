"""PyTorch's own ONNX file of a plain torch module."""

from __future__ import annotations

from pathlib import Path

import torch
from plain_torch import plain_module, tensors
from recipe import calibration, make

OPSET = 18
"""What ONNX Runtime's quantisers are written for, as for the other peers."""


def float32(work: Path, target: Path) -> None:
    """Without symbolic sizes, with all constants folded that the exporter folds."""
    example = calibration(work)[0]
    program = torch.onnx.export(
        plain_module(work), tensors(example), dynamo=True, opset_version=OPSET,
        input_names=list(example), output_names=["output"],
    )  # fmt: skip
    assert program is not None
    program.save(target, external_data=False)


if __name__ == "__main__":
    make({"plain_fp32.onnx": float32})
