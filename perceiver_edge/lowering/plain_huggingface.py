"""The plain form of a Hugging Face Perceiver: its weights as a `Program`, before any rewrite.

One layer serves as cross-attend, self-attend and decoder (``modeling_perceiver.py`` of transformers 5.24):

    h = LN1(q), c = LN2(kv), or c = h in a self-attend          Q, K, V = h W_q + b_q, c W_k + b_k, c W_v + b_v
    o = softmax(Q Kᵀ / √(channels of a head)) V W_o + b_o       + q, where the query is a residual
    y = o + W_2 act(W_1 LN(o) + b_1) + b_2
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from perceiver_edge.config.huggingface import (
    ACTIVATIONS,
    CONVOLUTIONAL,
    FLOW,
    FOURIER,
    LABEL,
    LEARNED,
    MASKED_LM,
    MULTIMODAL,
    TEXTS,
    HuggingFaceConfig,
)
from perceiver_edge.lowering.fourier_features import fourier_features
from perceiver_edge.lowering.interpolate import bicubic
from perceiver_edge.lowering.plain_multimodal import label_projection, label_query, multimodal_sources
from perceiver_edge.lowering.program import (
    Activation,
    Block,
    CrossAttention,
    FeedForward,
    Layer,
    Norm,
    Output,
    Program,
    SelfAttention,
    Stack,
    scaled,
)
from perceiver_edge.lowering.source import Affine, Array, Convolution, Learned, Linear, Lookup, Source, Stem

FOURIER_BANDS = 64
FOURIER_RESOLUTION = {FOURIER: (224, 224), CONVOLUTIONAL: (56, 56)}
"""Twice the highest frequency along each axis, whatever the image's own size is."""

BATCH_NORM_EPSILON = 1e-5
FLOW_SCALE = 100.0
"""The published flow is the model's output divided by this."""

TEXT_DECODER_HEADS = 8
"""Of a masked language model, whatever its configuration says of the encoder's; transformers has it as a constant."""


def plain_huggingface(
    config: HuggingFaceConfig, weights: Mapping[str, np.ndarray], input_shape: tuple[int, ...]
) -> Program:
    """Read weights under transformers' names (`checkpoints.huggingface_layout`) into a `Program`.

    Args:
        input_shape: sizes of the input axes, without channels.
    """
    read = _Reader(config, weights)
    heads = config.num_cross_attention_heads
    encode = read.layer("perceiver.encoder.cross_attention", heads, is_residual=config.use_query_residual)
    attends = [
        read.layer(f"perceiver.encoder.self_attends.{i}", config.num_self_attention_heads, index=i)
        for i in range(config.num_self_attends_per_block)
    ]
    block = Layer(tuple(part for attend in attends for part in attend))
    sources: tuple[Source | Learned, ...]
    if config.architecture == MULTIMODAL:
        sources = multimodal_sources(config, read.array, input_shape)
    else:
        sources = (_source(config, read, input_shape),)
    encoder = Stack(
        "layers", read.array("perceiver.embeddings.latents"), None, (Layer(encode), *[block] * config.num_blocks)
    )  # fmt: skip
    decoder, output = _decoder(config, read, input_shape)
    return Program(sources=sources, stacks=(encoder, decoder), output=output)


def _source(config: HuggingFaceConfig, read: _Reader, input_shape: tuple[int, ...]) -> Source:
    prefix, shape = "perceiver.input_preprocessor.", config.sample_shape(input_shape)
    if config.architecture in TEXTS:
        positions = read.array(f"{prefix}position_embeddings.weight")[: input_shape[0]]
        table = read.array(f"{prefix}embeddings.weight")
        return Source("input", shape, (Lookup(table),), positions, adds_positions=True)
    if config.architecture == LEARNED:
        table = bicubic(read.array(f"{prefix}position_embeddings.position_embeddings"), input_shape)
        projection = read.linear(f"{prefix}positions_projection")
        assert projection.bias is not None
        stem: Stem = Affine(read.linear(f"{prefix}convnet_1x1"))
        return Source("input", shape, (stem,), table @ projection.weight + projection.bias)
    if config.architecture == FOURIER:
        return Source("input", shape, (), _features(input_shape, FOURIER_RESOLUTION[FOURIER]))
    if config.architecture == FLOW:
        stem = Affine(read.linear(f"{prefix}conv_after_patches"))
        return Source("input", shape, (stem,), _features(input_shape, config.train_size))
    stem = read.convolution(f"{prefix}convnet")
    grid = stem.shape(shape)[:2]
    return Source("input", shape, (stem,), _features(grid, FOURIER_RESOLUTION[CONVOLUTIONAL]))


def _features(grid: tuple[int, ...], resolution: tuple[int, ...]) -> Array:
    return fourier_features(grid, resolution, bands=FOURIER_BANDS)


def _decoder(config: HuggingFaceConfig, read: _Reader, input_shape: tuple[int, ...]) -> tuple[Stack, Output]:
    prefix = "perceiver.decoder."
    if config.architecture == MASKED_LM:
        queries = read.array(f"{prefix}output_position_encodings.position_embeddings")
        if config.positions is not None:
            queries = queries[list(config.positions)]
        layer = read.layer(f"{prefix}decoding_cross_attention", TEXT_DECODER_HEADS, is_residual=False)
        embedding = read.array("perceiver.input_preprocessor.embeddings.weight")
        logits = Linear(np.ascontiguousarray(embedding.T), read.array("embedding_decoder.bias"))
        shape: tuple[int, ...] = (len(queries), config.vocab_size)
        return Stack("decoder", queries, None, (Layer(layer),)), Output(False, None, logits, shape)
    layer = read.layer(
        f"{prefix}decoder.decoding_cross_attention", 1, is_residual=config.architecture not in (FLOW, MULTIMODAL)
    )  # fmt: skip
    final, rows = read.linear(f"{prefix}decoder.final_layer"), None
    shape = (config.num_labels,)
    if config.architecture == FLOW:
        final, shape = scaled(final, 1 / FLOW_SCALE), (*input_shape, 2)
    elif config.architecture == MULTIMODAL:
        classifier = read.linear(f"perceiver.output_postprocessor.modalities.{LABEL}.classifier")
        final, rows = label_projection(final, classifier), label_query(read.array)
    else:
        rows = read.array(f"{prefix}decoder.output_position_encodings.position_embeddings")
    return Stack("decoder", rows, None, (Layer(layer),)), Output(False, None, final, shape)


class _Reader:
    """transformers' names → float64 values of the program."""

    def __init__(self, config: HuggingFaceConfig, weights: Mapping[str, np.ndarray]) -> None:
        self._config, self._weights = config, weights

    def array(self, name: str) -> Array:
        return np.asarray(self._weights[name], np.float64)

    def norm(self, prefix: str) -> Norm:
        return Norm(self.array(f"{prefix}.weight"), self.array(f"{prefix}.bias"))

    def linear(self, prefix: str) -> Linear:
        weight = self.array(f"{prefix}.weight")
        weight = weight.reshape(weight.shape[0], -1)  # a 1 × 1 convolution has two axes more
        return Linear(np.ascontiguousarray(weight.T), self.array(f"{prefix}.bias"))

    def convolution(self, prefix: str) -> Convolution:
        """7 × 7 with stride 2 and 3 zeros on every side; 3 × 3 maxima with stride 2 and none: 224 → 112 → 55."""
        gamma, beta, mean, variance = (
            self.array(f"{prefix}.batchnorm.{name}") for name in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        kernel = np.ascontiguousarray(self.array(f"{prefix}.conv.weight").transpose(2, 3, 1, 0))
        return Convolution(kernel, scale, beta - mean * scale, stride=2, padding=3, pool=3, pool_stride=2)

    def layer(
        self, prefix: str, heads: int, *, is_residual: bool = True, index: int | None = None
    ) -> tuple[tuple[str, Block], ...]:
        """A cross-attend, or, with an ``index``, a self-attend; and its feed-forward block."""
        attention = f"{prefix}.attention.self"
        norm = self.norm(f"{attention}.layernorm1")
        query, key, value = (self.linear(f"{attention}.{name}") for name in ("query", "key", "value"))
        output = self.linear(f"{prefix}.attention.output.dense")
        scale = (query.weight.shape[1] // heads) ** -0.5
        feed_forward = FeedForward(
            self.norm(f"{prefix}.layernorm"), self.linear(f"{prefix}.mlp.dense1"), self.linear(f"{prefix}.mlp.dense2"),
            is_gated=False, activation=cast(Activation, ACTIVATIONS[self._config.hidden_act]),
        )  # fmt: skip
        if index is not None:
            attend = SelfAttention(norm, (query, key, value), output, heads=heads, scale=scale)
            return (f"self_attn.{index}", attend), (f"self_ff.{index}", feed_forward)
        cross = CrossAttention(
            norm, self.norm(f"{attention}.layernorm2"), query, key, value, output,
            heads=heads, scale=scale, is_residual=is_residual,
        )  # fmt: skip
        return ("cross_attn", cross), ("cross_ff", feed_forward)
