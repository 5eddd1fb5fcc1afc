"""The weights of a Perceiver of krasserm's perceiver-io, 0.6 to 0.11: its names, and those of transformers.

Both compute the same layers under other names, so a file is renamed, and read as transformers' are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_edge.checkpoints.checkpoint import Checkpoint
from perceiver_edge.checkpoints.huggingface import PROCESSOR_FILE, folder_input_spec, read_weights
from perceiver_edge.checkpoints.huggingface_layout import layer_shapes
from perceiver_edge.checkpoints.layout import Shapes, linear
from perceiver_edge.checkpoints.validation import fit_shapes
from perceiver_edge.config.krasserm import IMAGE_CLASSIFIER, KrassermConfig, parse_krasserm_config
from perceiver_edge.config.labels import names_in_id2label
from perceiver_edge.errors import BadInputError

_LATENTS = "perceiver.embeddings.latents"
_EMBEDDING = "perceiver.input_preprocessor.embeddings.weight"
_POSITIONS = "perceiver.input_preprocessor.position_embeddings.weight"
_FEATURES = "perceiver.input_preprocessor.position_encoding"
"""Fourier features of the pixels ``[positions, channels]``, which perceiver-io keeps with its weights."""

_CROSS_ATTENTION, _LATER_CROSS_ATTENTION = (
    "perceiver.encoder.cross_attention",
    "perceiver.encoder.later_cross_attention",
)
_SELF_ATTENDS, _LATER_SELF_ATTENDS = "perceiver.encoder.self_attends", "perceiver.encoder.later_self_attends"
_QUERIES = "perceiver.decoder.output_position_encodings.position_embeddings"
_DECODER = "perceiver.decoder.decoding_cross_attention"
_FINAL, _BIAS = "perceiver.decoder.final_layer", "embedding_decoder.bias"

_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.|model\.|backend_model\.)+|_checkpoint_wrapped_module\.")
_MODULES = (
    (r"0\.(latent_provider\._query|latent)$", _LATENTS),
    (r"0\.input_adapter\.txt_embedding\.weight$", _EMBEDDING),
    (r"0\.input_adapter\.(pos_embedding\.weight|pos_encoding)$", _POSITIONS),
    (r"0\.input_adapter\.(position_encoding\.)?position_encoding$", _FEATURES),
    (r"0\.cross_attn_1\.", f"{_CROSS_ATTENTION}."),
    (r"0\.cross_attn_n\.", f"{_LATER_CROSS_ATTENTION}."),
    (r"0\.self_attn_1\.", f"{_SELF_ATTENDS}."),
    (r"0\.self_attn_n\.", f"{_LATER_SELF_ATTENDS}."),
    (r"1\.cross_attn\.", f"{_DECODER}."),
    (r"1\.(output_query_provider\._query|output_adapter\._output_query)$", _QUERIES),
    (r"1\.output_adapter\.linear\.", f"{_FINAL}."),
    (r"1\.output_adapter\.bias$", _BIAS),
)
_PARTS = (
    (r"\.0\.(module\.)?(q_norm|norm)\.", ".attention.self.layernorm1."),
    (r"\.0\.(module\.)?kv_norm\.", ".attention.self.layernorm2."),
    (r"\.0\.(module\.)?attention\.q_proj\.", ".attention.self.query."),
    (r"\.0\.(module\.)?attention\.k_proj\.", ".attention.self.key."),
    (r"\.0\.(module\.)?attention\.v_proj\.", ".attention.self.value."),
    (r"\.0\.(module\.)?attention\.o_proj\.", ".attention.output.dense."),
    (r"\.1\.module\.0\.", ".layernorm."),
    (r"\.1\.module\.1\.", ".mlp.dense1."),
    (r"\.1\.module\.3\.", ".mlp.dense2."),
)
"""Inside of an attention layer; ``module.`` stands where what is attended to is added to the rows."""

_DECODER_ADDS = re.compile(r"1\.cross_attn\.0\.module\.")


def krasserm_shapes(config: KrassermConfig) -> Shapes:
    """Name and shape of every weight, under the names of transformers' layers."""
    c, encoder, width = config, config.encoder, config.num_latent_channels
    shapes: Shapes = {_LATENTS: (c.num_latents, width)}
    if c.model == IMAGE_CLASSIFIER:
        shapes[_FEATURES] = (int(np.prod(c.default_input_shape)), c.position_channels)
    else:
        shapes[_EMBEDDING] = (encoder.vocab_size, c.token_channels)
        shapes[_POSITIONS] = (encoder.max_seq_len, c.token_channels)
    for name in (_CROSS_ATTENTION, *[_LATER_CROSS_ATTENTION] * encoder.has_other_cross_attention):
        widening = encoder.cross_attention_widening_factor
        shapes |= layer_shapes(name, width, c.token_channels, c.cross_channels, widening=widening)
    for name in (_SELF_ATTENDS, *[_LATER_SELF_ATTENDS] * encoder.has_other_block):
        for index in range(encoder.num_self_attention_layers_per_block):
            widening = encoder.self_attention_widening_factor
            shapes |= layer_shapes(f"{name}.{index}", width, None, c.self_channels, widening=widening)
    shapes[_QUERIES] = (c.num_queries, c.query_channels)
    widening = c.decoder.cross_attention_widening_factor
    shapes |= layer_shapes(_DECODER, c.query_channels, width, c.decoder_channels, widening=widening)
    return shapes | ({_BIAS: (c.outputs,)} if c.is_tied else linear(_FINAL, c.query_channels, c.outputs))


def load_krasserm(
    path: Path, values: Mapping[str, Any], *, input_shape: tuple[int, ...] | None, where: object
) -> Checkpoint:
    """Read a folder, or a file of weights, as the model that ``values`` of a ``config.json`` describe.

    Raises:
        BadInputError: as `parse_krasserm_config` and `fit_krasserm`; a file is missing or damaged.
    """
    config = parse_krasserm_config(values, where=where)
    folder = path if path.is_dir() else path.parent
    says_normalisation = config.model == IMAGE_CLASSIFIER and (folder / PROCESSOR_FILE).is_file()  # no default holds
    spec = folder_input_spec(folder, input_shape or config.default_input_shape, is_pictures=says_normalisation)
    weights_path, tensors = read_weights(path)
    names = names_in_id2label(values, config.num_classes) if config.is_classifier else None
    weights = fit_krasserm(config, tensors, where=weights_path)
    return Checkpoint(config=config, input_spec=spec, weights=weights, class_names=names)


def fit_krasserm(
    config: KrassermConfig, tensors: Mapping[str, np.ndarray], *, where: object = None
) -> dict[str, np.ndarray]:
    """The weights of ``config`` under the names of `krasserm_shapes`; ``tensors`` have perceiver-io's.

    Raises:
        BadInputError: as `fit_shapes`; or the decoder adds what it attends to, and the configuration says otherwise.
    """
    given = {_WRAPPERS.sub("", name): tensor for name, tensor in tensors.items()}
    adds = any(map(_DECODER_ADDS.match, given))
    if adds != config.decoder.cross_attention_residual:
        raise BadInputError(
            "cross_attention_residual of the decoder does not fit the weights.", expected=f"{adds}".lower(),
            got=f"{not adds}".lower(), where=where, fix="correct it in config.json",
        )  # fmt: skip
    renamed = {_renamed(name): tensor for name, tensor in given.items()}
    return fit_shapes(
        krasserm_shapes(config), renamed, where=where, fix="check that model_config and the weights are of one model"
    )


def _renamed(name: str) -> str:
    for pattern, ours in _MODULES:
        if match := re.match(pattern, name):
            name = ours + name[match.end() :]
            break
    for pattern, ours in _PARTS:
        name = re.sub(pattern, ours, name)
    return name
