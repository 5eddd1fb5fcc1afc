"""The plain Perceiver, or a rate graph, in PyTorch: perceiver-pytorch with the same weights."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import torch
from recipe import CHAIN, MODEL, gemm_weights, rate_graph


def plain_module(work: Path) -> torch.nn.Module:
    """Takes ``[1, *axes, channels]`` float32."""
    rate = rate_graph(work)
    if rate is not None:
        return _RATES[rate["kind"]](rate["columns"]).eval()
    from perceiver_pytorch import Perceiver
    from safetensors.torch import load_model

    config = json.loads((work / MODEL / "config.json").read_text())
    known = inspect.signature(Perceiver.__init__).parameters
    model = Perceiver(**{name: value for name, value in config.items() if name in known})
    load_model(model, work / MODEL / "model.safetensors")
    return model.eval()


class _Gemm(torch.nn.Sequential):
    def __init__(self, columns: int) -> None:
        super().__init__()
        for weight in gemm_weights(columns):
            linear = torch.nn.Linear(*weight.shape, bias=False)
            linear.weight.data = torch.from_numpy(weight.T.copy())
            self.append(linear)


class _Exp(torch.nn.Module):
    def __init__(self, _columns: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(CHAIN):
            x = torch.exp(-x)
        return x


class _Softmax(torch.nn.Module):
    def __init__(self, _columns: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(CHAIN):
            x = torch.softmax(x, -1)
        return x


_RATES = {"gemm": _Gemm, "exp": _Exp, "softmax": _Softmax}
