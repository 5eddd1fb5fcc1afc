"""The plain model in PyTorch with the same weights, for whatever starts from a torch module and example inputs.

It is perceiver-pytorch's or transformers', or a rate graph.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipe import CHAIN, MODEL, gemm_weights, rate_graph


def plain_module(work: Path) -> torch.nn.Module:
    """Takes what `tensors` gives, and answers logits."""
    rate = rate_graph(work)
    if rate is not None:
        return _RATES[rate["kind"]](rate["columns"]).eval()
    config = json.loads((work / MODEL / "config.json").read_text())
    if config.get("model_type") == "perceiver":
        return OfTransformers(work / MODEL, config).eval()
    from perceiver_pytorch import Perceiver
    from safetensors.torch import load_model

    known = inspect.signature(Perceiver.__init__).parameters
    model = Perceiver(**{name: value for name, value in config.items() if name in known})
    load_model(model, work / MODEL / "model.safetensors")
    return model.eval()


def tensors(feeds: Mapping[str, np.ndarray]) -> tuple[torch.Tensor, ...]:
    """The module's arguments, in the order of the model's inputs."""
    return tuple(torch.from_numpy(values) for values in feeds.values())


class OfTransformers(torch.nn.Module):
    """transformers' own model, its inputs as ours has them: channels last, or symbols (int32) and a mask (bool)."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        super().__init__()
        import transformers

        (architecture,) = config["architectures"]
        model_class = getattr(transformers, architecture)
        self.model, report = model_class.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        assert not report["mismatched_keys"], report
        # Batches that a normalisation has seen are counted for training alone.
        assert all(name.endswith("num_batches_tracked") for name in report["missing_keys"]), report

    def forward(self, input: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if mask is not None:
            return self.model(inputs=input.long(), attention_mask=mask.long()).logits
        return self.model(inputs=input.permute(0, 3, 1, 2)).logits


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
