"""Models of the sizes that Hugging Face publishes, with random weights: ``python make_published.py NAME FOLDER``.

Runs in the environment ``torch``. The same seed gives the same weights. The published files cannot be fetched
everywhere; neither time nor memory nor size depends on the weights' values.

transformers' own initial weights are a tenth of what training makes of them, and then the output hardly depends on the
input. So these have about the size that a trained layer's have, 1/√(inputs) each, and queries and keys are larger, so
that attention is not the same everywhere.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
import transformers

_VISION = {
    "num_latents": 512, "d_latents": 1024, "num_blocks": 8, "num_self_attends_per_block": 6,
    "num_self_attention_heads": 8, "num_cross_attention_heads": 1, "num_labels": 1000,
}  # fmt: skip
PUBLISHED = {
    "vision-perceiver-fourier": ("ImageClassificationFourier", {**_VISION, "d_model": 261}),
    "vision-perceiver-learned": ("ImageClassificationLearned", {**_VISION, "d_model": 512, "image_size": 224}),
    "vision-perceiver-conv": ("ImageClassificationConvProcessing", {**_VISION, "d_model": 322}),
    "language-perceiver": ("MaskedLM", {
        "num_latents": 256, "d_latents": 1280, "d_model": 768, "qk_channels": 256, "v_channels": 1280,
        "num_blocks": 1, "num_self_attends_per_block": 26, "num_self_attention_heads": 8,
        "num_cross_attention_heads": 8,
    }),
}  # fmt: skip
"""Architecture, and the values of its ``config.json`` that are not transformers' defaults or that sizes depend on."""

_SHARPER = 2.0
"""A score is so many times as large as with weights of 1/√(inputs)."""


def main() -> None:
    """The command."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    architecture, values = PUBLISHED[name]
    model = getattr(transformers, f"PerceiverFor{architecture}")(transformers.PerceiverConfig(**values))
    of_trained_size(model, torch.Generator().manual_seed(0))
    model.save_pretrained(folder)


@torch.no_grad()
def of_trained_size(model: torch.nn.Module, random: torch.Generator) -> None:
    """Draw all weights, and what a normalisation would have seen."""
    for name, weight in model.named_parameters():
        drawn = torch.randn(weight.shape, generator=random)
        if "layernorm" in name:
            drawn = 0.1 * drawn + name.endswith("weight")
        elif name.endswith(".bias") and weight.ndim == 1:
            drawn *= 0.05
        elif weight.ndim >= 2 and name.endswith(".weight") and "embeddings" not in name:
            is_compared = ".key." in name or ".query." in name
            drawn *= math.sqrt((_SHARPER if is_compared else 1) / weight[0].numel())
        elif "latents" not in name:  # embeddings, positions, paddings
            drawn *= 0.5
        weight.copy_(drawn)
    for name, seen in model.named_buffers():
        if name.endswith("running_var"):
            seen.copy_(0.5 + torch.rand(seen.shape, generator=random))
        elif name.endswith("running_mean"):
            seen.copy_(0.2 * torch.randn(seen.shape, generator=random))


if __name__ == "__main__":
    main()
