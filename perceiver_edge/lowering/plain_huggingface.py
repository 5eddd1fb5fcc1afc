"""The plain form of a Hugging Face Perceiver: its weights as a `Program`, before any rewrite."""

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
from perceiver_edge.lowering.program import Activation, Layer, Output, Program, Stack, scaled
from perceiver_edge.lowering.read_huggingface import LayerReader
from perceiver_edge.lowering.source import Affine, Array, Learned, Linear, Lookup, Source, Stem

FOURIER_BANDS = 64
FOURIER_RESOLUTION = {FOURIER: (224, 224), CONVOLUTIONAL: (56, 56)}
"""Twice the highest frequency along each axis, whatever the image's own size is."""

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
    read = LayerReader(weights, activation=cast(Activation, ACTIVATIONS[config.hidden_act]))
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


def _source(config: HuggingFaceConfig, read: LayerReader, input_shape: tuple[int, ...]) -> Source:
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


def _decoder(config: HuggingFaceConfig, read: LayerReader, input_shape: tuple[int, ...]) -> tuple[Stack, Output]:
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
