"""Small Perceivers of Hugging Face's architectures: weights and inputs drawn here, outputs stored.

``huggingface.json`` has the configurations, ``huggingface.npz`` what transformers computes for them in float64
(`make_huggingface.py` made it). Weights have about the size of trained ones, and nothing in them is neutral: a rule or
a reader that forgets a term would still look right with ones and zeros.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perceiver_edge.checkpoints.huggingface_layout import huggingface_shapes
from perceiver_edge.config.huggingface import HuggingFaceConfig, parse_huggingface_config

FOLDER = Path(__file__).parent
TEXTS = ("PerceiverForMaskedLM", "PerceiverForSequenceClassification")


@dataclass(frozen=True, eq=False)
class HuggingFaceCase:
    """``values``: of ``config.json``. ``inputs`` ``[1, *shape]``, channels last; ``mask`` ``[1, tokens]`` or None.

    ``beside``: the other inputs, by name.
    """

    name: str
    values: dict
    config: HuggingFaceConfig
    input_shape: tuple[int, ...]
    weights: dict[str, np.ndarray]
    inputs: np.ndarray
    mask: np.ndarray | None
    beside: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        """By input name."""
        return {"input": self.inputs, **self.beside} | ({} if self.mask is None else {"mask": self.mask})


def names() -> list[str]:
    return [case["name"] for case in json.loads((FOLDER / "huggingface.json").read_text())["cases"]]


def expected(name: str) -> np.ndarray:
    """What transformers computes, float64, without the batch."""
    with np.load(FOLDER / "huggingface.npz") as outputs:
        return outputs[name]


def load(name: str) -> HuggingFaceCase:
    grid = json.loads((FOLDER / "huggingface.json").read_text())
    case = next(case for case in grid["cases"] if case["name"] == name)
    defaults = grid["text" if case["architecture"] in TEXTS else "defaults"]
    values = {"model_type": "perceiver", "architectures": [case["architecture"]], **defaults, **case["config"]}
    if "num_labels" in values:
        values["id2label"] = {str(i): f"LABEL_{i}" for i in range(values["num_labels"])}
    config = parse_huggingface_config(values)
    shape = tuple(case["input_shape"])
    random = np.random.default_rng(zlib.crc32(name.encode()))
    weights = {n: _draw(n, s, random) for n, s in huggingface_shapes(config).items()}
    weights["perceiver.embeddings.latents"] *= case.get("latents_scale", 1.0)
    if variances := [name for name in weights if name.endswith("running_var")]:
        weights[variances[0]] *= case.get("variances_scale", 1.0)
    if case.get("negative_gelu"):
        _make_gelu_matter(weights)
    mask = None
    if config.vocabulary:
        inputs = random.integers(6, config.vocabulary, (1, *shape)).astype(np.int32)
        mask = np.arange(shape[0])[None] < case["tokens"]
        inputs[~mask] = 0
    else:
        inputs = random.standard_normal((1, *config.sample_shape(shape))).astype(np.float32)
    beside = {
        other: random.standard_normal((1, *sizes)).astype(np.float32) for other, sizes in config.beside(shape).items()
    }
    return HuggingFaceCase(name, values, config, shape, weights, inputs, mask, beside)


def _make_gelu_matter(weights: dict[str, np.ndarray]) -> None:
    """Move what enters it to about -2.3, where its approximation by tanh is furthest off, and amplify what leaves."""
    for name in weights:
        if name.endswith(".mlp.dense1.weight"):
            weights[name] *= 0.3
        elif name.endswith(".mlp.dense1.bias"):
            weights[name] -= 2.3
        elif name.endswith(".mlp.dense2.weight"):
            weights[name] *= 20


def _draw(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    noise = random.standard_normal(shape)
    owner, _, kind = name.rpartition(".")
    if kind == "running_var":
        weight = 0.5 + random.random(shape)
    elif kind == "running_mean":
        weight = 0.2 * noise
    elif "norm" in owner.rpartition(".")[2]:
        weight = 1 + 0.1 * noise if kind == "weight" else 0.1 * noise
    elif kind == "bias":
        weight = 0.05 * noise
    elif "embeddings" in name:
        weight = noise if kind == "latents" else 0.5 * noise
    else:
        sharpness = 2**0.5 if owner.endswith((".key", ".query")) else 1.0
        weight = sharpness * noise / np.prod(shape[1:]) ** 0.5
    return weight.astype(np.float32)
