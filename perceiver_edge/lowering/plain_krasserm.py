"""The plain form of a Perceiver of krasserm's perceiver-io: its weights as a `Program`, before any rewrite.

Blocks of self-attends follow each other, each of the first ``num_cross_attention_layers`` after a cross-attend. The
weights of the later ones are the first's or, unshared, one other set for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perceiver_edge.config.krasserm import IMAGE_CLASSIFIER, MASKED_LM, KrassermConfig
from perceiver_edge.lowering.program import Layer, Output, Program, Stack
from perceiver_edge.lowering.read_huggingface import LayerReader
from perceiver_edge.lowering.source import Linear, Lookup, Source


def plain_krasserm(config: KrassermConfig, weights: Mapping[str, np.ndarray], input_shape: tuple[int, ...]) -> Program:
    """Read weights under the names of `checkpoints.krasserm` into a `Program`.

    Args:
        input_shape: sizes of the input axes, without channels.
    """
    read = LayerReader(weights)
    encoder = Stack("layers", read.array("perceiver.embeddings.latents"), None, tuple(_layers(config, read)))
    decoder, output = _decoder(config, read, input_shape)
    return Program(sources=(_source(config, read, input_shape),), stacks=(encoder, decoder), output=output)


def _layers(config: KrassermConfig, read: LayerReader) -> list[Layer]:
    encoder = config.encoder

    def cross(name: str) -> Layer:
        return Layer(read.layer(name, encoder.num_cross_attention_heads))

    def block(name: str) -> Layer:
        attends = [
            read.layer(f"{name}.{index}", encoder.num_self_attention_heads, index=index)
            for index in range(encoder.num_self_attention_layers_per_block)
        ]
        return Layer(tuple(part for attend in attends for part in attend))

    first_cross, first_block = cross("perceiver.encoder.cross_attention"), block("perceiver.encoder.self_attends")
    later_cross = cross("perceiver.encoder.later_cross_attention") if encoder.has_other_cross_attention else first_cross
    later_block = block("perceiver.encoder.later_self_attends") if encoder.has_other_block else first_block
    layers = [first_cross, first_block]
    for index in range(1, encoder.num_self_attention_blocks):
        layers += [later_cross] * (index < encoder.num_cross_attention_layers) + [later_block]
    return layers


def _source(config: KrassermConfig, read: LayerReader, input_shape: tuple[int, ...]) -> Source:
    shape = config.sample_shape(input_shape)
    if config.model == IMAGE_CLASSIFIER:
        return Source("input", shape, (), read.array("perceiver.input_preprocessor.position_encoding"))
    positions = read.array("perceiver.input_preprocessor.position_embeddings.weight")[: input_shape[0]]
    return Source(
        "input",
        shape,
        (Lookup(read.array("perceiver.input_preprocessor.embeddings.weight")),),
        positions,
        adds_positions=True,
    )


def _decoder(config: KrassermConfig, read: LayerReader, input_shape: tuple[int, ...]) -> tuple[Stack, Output]:
    queries = read.array("perceiver.decoder.output_position_encodings.position_embeddings")
    if config.model == MASKED_LM:
        queries = queries[: input_shape[0]]
    heads, is_residual = config.decoder.num_cross_attention_heads, config.decoder.cross_attention_residual
    layer = read.layer("perceiver.decoder.decoding_cross_attention", heads, is_residual=is_residual)
    if config.is_tied:
        embedding = read.array("perceiver.input_preprocessor.embeddings.weight")
        logits = Linear(np.ascontiguousarray(embedding.T), read.array("embedding_decoder.bias"))
    else:
        logits = read.linear("perceiver.decoder.final_layer")
    shape = (config.outputs,) if config.is_classifier else (len(queries), config.outputs)
    return Stack("decoder", queries, None, (Layer(layer),)), Output(False, None, logits, shape)
