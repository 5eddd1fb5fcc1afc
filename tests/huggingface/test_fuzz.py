"""Random configurations of every architecture against transformers: what it builds and runs is read alike.

`drawn` is deterministic: a failure names its number, and `pytest tests/huggingface/test_fuzz.py -k number` repeats it.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from perceiver_edge.checkpoints.huggingface_layout import huggingface_shapes
from perceiver_edge.config.huggingface import (
    ARCHITECTURES,
    CONVOLUTIONAL,
    FLOW,
    FOURIER,
    IMAGES,
    LEARNED,
    MASKED_LM,
    MULTIMODAL,
    TEXTS,
    parse_huggingface_config,
)
from perceiver_edge.lowering import lower

pytest.importorskip("transformers")

TOLERANCE = 1e-5
"""Relative L2. Both compute in float64; transformers' Fourier features are float32, which is 1e-7."""

FEW, MANY = 14, 280
"""Configurations: two, and forty, of each architecture."""


class Draw:
    """Random choices of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def of(self, *options: Any) -> Any:
        return options[self.random.integers(len(options))]

    def size(self, least: int, most: int) -> int:
        return int(self.random.integers(least, most + 1))


def drawn(number: int) -> tuple[dict[str, Any], tuple[int, ...]]:
    """(values of a ``config.json``, the sizes of the input)."""
    draw, architecture = Draw(number), ARCHITECTURES[number % len(ARCHITECTURES)]
    heads, self_heads = draw.of(1, 1, 2, 3), draw.of(1, 2, 3, 5)
    latents = heads * self_heads * draw.size(1, 4)
    values: dict[str, Any] = {
        "model_type": "perceiver", "architectures": [architecture],
        "num_latents": draw.size(1, 9), "d_latents": latents, "d_model": 8 * draw.size(1, 4),
        "num_blocks": draw.size(1, 3), "num_self_attends_per_block": draw.size(1, 3),
        "num_self_attention_heads": self_heads, "num_cross_attention_heads": heads,
        "self_attention_widening_factor": draw.size(1, 3), "cross_attention_widening_factor": draw.size(1, 3),
        "hidden_act": draw.of("gelu", "relu", "gelu_new", "silu", "gelu_pytorch_tanh"),
        "use_query_residual": draw.of(True, False), "cross_attention_shape_for_attention": draw.of("kv", "q"),
        "layer_norm_eps": draw.of(1e-12, 1e-3),
    }  # fmt: skip
    if heads > 1 or draw.of(True, False):  # widths of tokens are seldom multiples of the heads
        values["qk_channels"], values["v_channels"] = heads * self_heads * draw.size(1, 5), latents
    elif draw.of(True, False):
        values["v_channels"] = latents
    values["id2label"] = {str(index): f"class {index}" for index in range(draw.size(1, 11))}
    if architecture in TEXTS:
        values |= {"max_position_embeddings": draw.size(5, 30), "vocab_size": draw.size(20, 300)}
        if architecture != MASKED_LM and heads == 1:
            values["d_model"] = draw.size(1, 33)
        if architecture == MASKED_LM and draw.of(True, False):
            values["positions"] = [draw.size(0, values["max_position_embeddings"] - 1) for _ in range(draw.size(1, 5))]
        return values, (draw.size(2, values["max_position_embeddings"]),)
    if architecture == LEARNED:
        values["image_size"] = draw.size(2, 14)
        side = draw.of(values["image_size"], draw.size(2, 20))
        return values, (side, side)
    if architecture == FLOW:
        values["train_size"] = [draw.size(2, 12), draw.size(2, 12)]
        return values, tuple(values["train_size"])
    if architecture == MULTIMODAL:
        patch = draw.of(8, 16)
        shape = (draw.size(2, 3), 4 * draw.size(1, 4), 4 * draw.size(1, 4))
        values |= {
            "num_frames": draw.of(shape[0], 16), "image_size": draw.size(8, 20), "samples_per_patch": patch,
            "audio_samples_per_frame": patch * draw.size(1, 3), "output_shape": [1, *shape],
            "output_num_channels": draw.size(3, 30), "_label_trainable_num_channels": draw.size(3, 500),
            "outputs": "label",
        }  # fmt: skip
        return values, shape
    return values, (draw.size(5, 40), draw.size(5, 40))


def case_of(number: int, maker):
    """Its weights and inputs are drawn as those of the stored cases are."""
    golden, (values, shape) = maker.golden, drawn(number)
    config = parse_huggingface_config(values)
    random = np.random.default_rng(number)
    weights = {n: golden._draw(n, s, random) for n, s in huggingface_shapes(config).items()}
    mask = None
    if config.vocabulary:
        inputs = random.integers(0, config.vocabulary, (1, *shape)).astype(np.int32)
        mask = np.arange(shape[0])[None] < random.integers(1, shape[0] + 1)
        if number % 3 == 0:  # holes, as a user may make them
            mask = mask & (random.random(mask.shape) < 0.7)
            mask[0, 0] = True
    else:
        inputs = random.standard_normal((1, *config.sample_shape(shape))).astype(np.float32)
    beside = {
        other: random.standard_normal((1, *sizes)).astype(np.float32) for other, sizes in config.beside(shape).items()
    }
    return golden.HuggingFaceCase(f"number {number}", values, config, shape, weights, inputs, mask, beside)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=() if number < FEW else pytest.mark.slow, id=f"number{number}")
        for number in range(MANY)
    ],
)  # fmt: skip
def test_a_random_configuration_is_read_as_transformers_reads_it(number, maker, plain, run, error):
    case = case_of(number, maker)
    wanted = maker.output_of(case, maker.model_of(case))
    program = plain(case)
    told = json.dumps({"input": case.input_shape, **case.values})
    assert error(run(program, case), wanted) < TOLERANCE, told
    if number % 4 == 0:
        assert error(run(lower(program)[0], case), wanted) < TOLERANCE, told


def test_every_architecture_is_drawn():
    assert {drawn(number)[0]["architectures"][0] for number in range(FEW)} == set(ARCHITECTURES)
    assert {FOURIER, CONVOLUTIONAL, LEARNED} <= IMAGES
