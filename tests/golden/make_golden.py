"""Remake the golden files: ``python tests/golden/make_golden.py`` (needs torch, perceiver-pytorch 0.11, safetensors).

For every case of ``grid.json`` with ``"stored": true`` writes ``<name>.safetensors`` beside this script:

- ``weights.<canonical name>``: float32, random, with LayerNorms that are not the identity
- ``input``: float32 ``[batch, *input_shape, input_channels]``
- ``mask``: bool ``[batch, *input_shape]``, True = attend; only where the case has a mask
- ``output``: float64, what perceiver-pytorch computes from these in double precision
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import perceiver_pytorch
import torch
from safetensors.numpy import save_file

FOLDER = Path(__file__).parent


def make_case(case: dict[str, Any]) -> dict[str, np.ndarray]:
    config, axes = case["config"], (case["batch"], *case["input_shape"])
    seed = zlib.crc32(case["name"].encode())
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)

    model = perceiver_pytorch.Perceiver(**config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # each tied parameter once, as the canonical weights are
            if "norm" in name or name.startswith("to_logits.1"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    sharpen_pools(model)
    weights = {f"weights.{name}": p.detach().numpy().copy() for name, p in model.named_parameters()}

    inputs = random.standard_normal((*axes, config["input_channels"])).astype(np.float32)
    tensors = {**weights, "input": inputs}
    if case["mask"] != "none":
        tensors["mask"] = random.random(axes) < 0.6
        if case["mask"] == "first_sample_empty":
            tensors["mask"][0] = False

    mask = torch.from_numpy(tensors["mask"]) if "mask" in tensors else None
    with torch.no_grad():
        output = model.double()(torch.from_numpy(inputs).double(), mask=mask)
    return {**tensors, "output": output.numpy()}


def sharpen_pools(model: torch.nn.Module) -> None:
    """Attention residuals that are far from a mean; their epsilon is float32's in double precision, too."""
    for pool in filter(None, model.attn_residuals):
        norm, *products = pool.to_attn_logits
        norm.eps = torch.finfo(torch.float32).eps
        with torch.no_grad():
            norm.weight.add_(0.3 * torch.randn_like(norm.weight))
            for product in products:
                product.weight.mul_(3.0)


def main() -> None:
    grid = json.loads((FOLDER / "grid.json").read_text())
    defaults = grid["defaults"]
    for entry in grid["cases"]:
        case = {**defaults, **entry, "config": {**defaults["config"], **entry.get("config", {})}}
        if case["stored"]:
            save_file(make_case(case), FOLDER / f"{case['name']}.safetensors")


if __name__ == "__main__":
    main()
