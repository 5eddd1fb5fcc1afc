"""The weights of a Hugging Face Perceiver: transformers' names and shapes."""

from __future__ import annotations

from collections.abc import Mapping

from perceiver_edge.checkpoints.layout import Shapes, linear, norm
from perceiver_edge.config.huggingface import (
    AUDIO,
    CHANNELS,
    CONVOLUTIONAL,
    FLOW,
    FRAMES,
    IMAGE,
    LABEL,
    LEARNED,
    LEAST_QUERY_PADDING,
    MASKED_LM,
    MULTIMODAL,
    HuggingFaceConfig,
)

IGNORED = ("perceiver.input_preprocessor.convnet.batchnorm.num_batches_tracked",)
"""Tensors that decide nothing in inference."""

RENAMED = {"perceiver.output_postprocessor.bias": "embedding_decoder.bias"}
"""Older files' names, and today's."""

_PATCH_WIDTH, _STEM_WIDTH, _POSITION_WIDTH = 27, 64, 256


def huggingface_shapes(config: HuggingFaceConfig) -> Shapes:
    """Name and shape of every weight, Linear weights ``[out, in]``."""
    c, width = config, config.d_latents
    shapes: Shapes = {"perceiver.embeddings.latents": (c.num_latents, width)}
    shapes |= _preprocessor(c)
    shapes |= layer_shapes(
        "perceiver.encoder.cross_attention", width, c.token_channels, c.cross_channels,
        widening=c.cross_attention_widening_factor,
    )  # fmt: skip
    for index in range(c.num_self_attends_per_block):
        name = f"perceiver.encoder.self_attends.{index}"
        widths = c.self_key_channels, c.self_value_channels
        shapes |= layer_shapes(name, width, None, widths, widening=c.self_attention_widening_factor)
    return shapes | _decoder(c)


def _preprocessor(c: HuggingFaceConfig) -> Shapes:
    prefix = "perceiver.input_preprocessor"
    if c.vocabulary:
        return {
            f"{prefix}.embeddings.weight": (c.vocab_size, c.d_model),
            f"{prefix}.position_embeddings.weight": (c.max_position_embeddings, c.d_model),
        }
    if c.architecture == LEARNED:
        return {
            f"{prefix}.convnet_1x1.weight": (_POSITION_WIDTH, CHANNELS, 1, 1),
            f"{prefix}.convnet_1x1.bias": (_POSITION_WIDTH,),
            f"{prefix}.position_embeddings.position_embeddings": (c.image_size**2, _POSITION_WIDTH),
            **linear(f"{prefix}.positions_projection", _POSITION_WIDTH, _POSITION_WIDTH),
        }
    if c.architecture == CONVOLUTIONAL:
        statistics = ("weight", "bias", "running_mean", "running_var")
        return {
            f"{prefix}.convnet.conv.weight": (_STEM_WIDTH, CHANNELS, 7, 7),
            **{f"{prefix}.convnet.batchnorm.{name}": (_STEM_WIDTH,) for name in statistics},
        }
    if c.architecture == FLOW:
        return linear(f"{prefix}.conv_after_patches", FRAMES * _PATCH_WIDTH, _STEM_WIDTH)
    if c.architecture == MULTIMODAL:
        masks = {f"{prefix}.mask.{name}": (1, c.token_channels) for name in c.modality_channels}
        return masks | _padding(prefix, c.modality_channels, c.token_channels)
    return {}


def _padding(prefix: str, widths: Mapping[str, int], width: int) -> Shapes:
    return {f"{prefix}.padding.{name}": (1, width - own) for name, own in widths.items()}


def _decoder(c: HuggingFaceConfig) -> Shapes:
    prefix = "perceiver.decoder"
    if c.architecture == MASKED_LM:
        return {
            f"{prefix}.output_position_encodings.position_embeddings": (c.max_position_embeddings, c.d_model),
            **layer_shapes(f"{prefix}.decoding_cross_attention", c.d_model, c.d_latents, (256, c.d_model)),
            "embedding_decoder.bias": (c.vocab_size,),
        }
    if c.architecture == MULTIMODAL:
        return _multimodal_decoder(c)
    attend, final = f"{prefix}.decoder.decoding_cross_attention", f"{prefix}.decoder.final_layer"
    if c.architecture == FLOW:
        width = c.token_channels
        return layer_shapes(attend, width, c.d_latents, c.decoder_channels(width)) | linear(final, width, 2)
    return {
        f"{prefix}.decoder.output_position_encodings.position_embeddings": (1, c.d_latents),
        **layer_shapes(attend, c.d_latents, c.d_latents, (c.d_latents, c.d_latents)),
        **linear(final, c.d_latents, c.num_labels),
    }


def _multimodal_decoder(c: HuggingFaceConfig) -> Shapes:
    """Of all outputs, whichever are computed: a file of transformers has them all."""
    prefix, width = "perceiver.decoder", max(c.query_channels.values()) + LEAST_QUERY_PADDING
    shapes: Shapes = {
        f"{prefix}.modalities.{LABEL}.decoder.output_position_encodings.position_embeddings":
            (1, c.label_trainable_num_channels),
        **_padding(prefix, c.query_channels, width),
        **layer_shapes(
            f"{prefix}.decoder.decoding_cross_attention", width, c.d_latents, c.decoder_channels(width)
        ),
        **linear(f"{prefix}.decoder.final_layer", width, c.output_num_channels),
    }  # fmt: skip
    outputs = {AUDIO: c.samples_per_patch, IMAGE: CHANNELS, LABEL: c.num_labels}
    for name, channels in outputs.items():
        classifier = f"perceiver.output_postprocessor.modalities.{name}.classifier"
        shapes |= linear(classifier, c.output_num_channels, channels)
    return shapes


def layer_shapes(name: str, query: int, asked: int | None, widths: tuple[int, int], *, widening: int = 1) -> Shapes:
    """Of one attention and the feed-forward block after it.

    Args:
        query: width of the rows.
        asked: width of the context; None in a self-attend, which normalises once.
        widths: of queries and keys, and of values, all heads together.
    """
    attention, (key, value) = f"{name}.attention.self", widths
    shapes = norm(f"{attention}.layernorm1", query)
    if asked is not None:
        shapes |= norm(f"{attention}.layernorm2", asked)
    return shapes | {
        **linear(f"{attention}.query", query, key),
        **linear(f"{attention}.key", asked or query, key),
        **linear(f"{attention}.value", asked or query, value),
        **linear(f"{name}.attention.output.dense", value, query),
        **norm(f"{name}.layernorm", query),
        **linear(f"{name}.mlp.dense1", query, widening * query),
        **linear(f"{name}.mlp.dense2", widening * query, query),
    }
