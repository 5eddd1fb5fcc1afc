"""Small Perceivers of krasserm's perceiver-io: configurations here, weights and inputs drawn here, outputs stored.

``krasserm.npz`` has what perceiver-io computes for them in float64 (`make_krasserm.py` made it). Nothing in the weights
is neutral, and no two numbers of a configuration are equal where a reader could mistake one for the other.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "krasserm.npz"

_LATENTS = {"num_latents": 5, "num_latent_channels": 8}
_TEXT = {"vocab_size": 41, "max_seq_len": 12, "num_input_channels": 6}

CASES = {
    "image": {
        "model_type": "perceiver-io-image-classifier",
        "model_config": {
            **_LATENTS,
            "encoder": {
                "image_shape": [5, 6, 3], "num_frequency_bands": 4, "num_cross_attention_heads": 3,
                "num_self_attention_heads": 2, "num_self_attention_layers_per_block": 2,
                "num_self_attention_blocks": 2, "self_attention_widening_factor": 2,
            },
            "decoder": {"num_classes": 7, "num_output_query_channels": 12, "num_cross_attention_heads": 4},
        },
    },
    "image, later weights their own": {
        "model_type": "perceiver-io-image-classifier",
        "model_config": {
            **_LATENTS,
            "encoder": {
                "image_shape": [4, 7, 1], "num_frequency_bands": 3, "num_cross_attention_heads": 2,
                "num_cross_attention_qk_channels": 10, "num_cross_attention_v_channels": 6,
                "num_self_attention_qk_channels": 4, "num_self_attention_v_channels": 12,
                "num_self_attention_heads": 4, "num_self_attention_layers_per_block": 1,
                "num_cross_attention_layers": 2, "num_self_attention_blocks": 3,
                "first_self_attention_block_shared": False, "cross_attention_widening_factor": 3,
            },
            "decoder": {
                "num_classes": 3, "num_output_query_channels": 8, "num_cross_attention_heads": 1,
                "cross_attention_residual": False, "cross_attention_widening_factor": 2,
            },
        },
    },
    "masked text, tied": {
        "model_type": "perceiver-io-masked-language-model",
        "model_config": {
            **_LATENTS,
            "encoder": {
                **_TEXT, "num_cross_attention_heads": 2, "num_cross_attention_qk_channels": 4,
                "num_cross_attention_v_channels": 8, "num_self_attention_heads": 2,
                "num_self_attention_layers_per_block": 2, "num_cross_attention_layers": 2,
                "num_self_attention_blocks": 2, "first_cross_attention_layer_shared": True,
            },
            "decoder": {
                "vocab_size": 41, "max_seq_len": 11, "num_cross_attention_heads": 2,
                "num_cross_attention_qk_channels": 4, "num_cross_attention_v_channels": 6,
                "cross_attention_residual": False,
            },
        },
    },
    "masked text, untied": {
        "model_type": "perceiver-io-masked-language-model",
        "model_config": {
            **_LATENTS,
            "encoder": {**_TEXT, "num_self_attention_layers_per_block": 1, "num_self_attention_heads": 4},
            "decoder": {
                "vocab_size": 9, "max_seq_len": 12, "num_output_query_channels": 10, "num_cross_attention_heads": 5,
            },
        },
    },
    "text": {
        "model_type": "perceiver-io-text-classifier",
        "model_config": {
            **_LATENTS,
            "encoder": {**_TEXT, "num_self_attention_layers_per_block": 2, "num_cross_attention_heads": 4},
            "decoder": {"num_classes": 2, "num_output_query_channels": 8, "num_cross_attention_heads": 2},
        },
    },
    "text, two answers": {
        "model_type": "perceiver-io-text-classifier",
        "model_config": {
            **_LATENTS,
            "encoder": {**_TEXT, "num_self_attention_layers_per_block": 1},
            "decoder": {
                "num_classes": 4, "num_output_query_channels": 6, "num_output_queries": 2,
                "num_cross_attention_heads": 3,
            },
        },
    },
}  # fmt: skip

TOKENS = 10
"""Of a text; three of them are masked."""


def inputs_of(name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """(``[1, *shape]``, the mask ``[1, tokens]`` or None)."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    encoder = CASES[name]["model_config"]["encoder"]
    if "image_shape" in encoder:
        return random.standard_normal((1, *encoder["image_shape"])).astype(np.float32), None
    mask = np.arange(TOKENS)[None] < TOKENS - 3
    return np.where(mask, random.integers(6, 41, (1, TOKENS)), 0).astype(np.int32), mask


def draw(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """A weight of perceiver-io's; half precision, so that it is stored in few bytes."""
    noise = random.standard_normal(shape)
    if len(shape) == 1:
        weight = 1 + 0.2 * noise if name.endswith("weight") else 0.1 * noise
    elif "query" in name or "latent" in name or "embedding" in name or "pos_encoding" in name:
        weight = noise
    else:
        weight = 1.5 * noise / shape[1] ** 0.5
    return weight.astype(np.float16)


def expected() -> dict[str, np.ndarray]:
    """By case: what perceiver-io computes, float64, without the batch; and its weights as ``<case>/<name>``."""
    with np.load(FILE) as file:
        return dict(file)
