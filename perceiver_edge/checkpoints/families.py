"""Weights of models that share a Perceiver's name, not its computation: known by their tensors, refused by family.

Better than "weights are missing": many of these have the same names as a Perceiver's for most of their tensors.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from perceiver_edge.checkpoints.names import few
from perceiver_edge.errors import BadInputError


class _Family(NamedTuple):
    name: str
    tensors: re.Pattern[str]
    """Found somewhere in a name of each file of this family, and of no other."""
    help: str


_PLAIN = "perceiver_edge compiles perceiver_pytorch.Perceiver, PerceiverIO and PerceiverLM; train one on the same data"
_IO_ARGUMENTS = (
    'put a config.json beside the file: {"model": "PerceiverIO", "depth": …, "dim": …, "queries_dim": …} and the other '
    "arguments of its constructor (docs/config.md), and store the decoder's queries with the weights as 'queries'"
)

_FAMILIES = (
    _Family(
        "a Perceiver of Hugging Face transformers",
        re.compile(r"(^|\.)embeddings\.latents$|\.attention\.self\.(query|key|value)\."),
        "pass the folder that save_pretrained wrote, with its config.json, not the file of weights alone",
    ),
    _Family(
        "a PerceiverIO of perceiver-pytorch",
        re.compile(r"(^|\.)(cross_attend_blocks?|decoder_cross_attn)\."),
        _IO_ARGUMENTS,
    ),
    _Family("a gated Perceiver (perceiver_pytorch.gated)", re.compile(r"\.gru\.(weight|bias)_[ih]h$"), _PLAIN),
    _Family(
        "a Perceiver of mixed latents (perceiver_pytorch.mixed_latents)",
        re.compile(r"layers\.\d+\.2\.fn\.[03]\.weight$"),
        _PLAIN,
    ),
    _Family(
        "the experimental Perceiver (perceiver_pytorch.experimental)",
        re.compile(r"(^|\.)data_proj\.(weight|bias)$"),
        _PLAIN,
    ),
    _Family(
        "a Perceiver with rotary positions (perceiver-pytorch 0.3 and 0.4, self_attn_rel_pos=True)",
        re.compile(r"(^|\.)sinu_emb\."),
        _PLAIN,
    ),
    _Family(
        "a Perceiver of perceiver-pytorch 0.1",
        re.compile(r"layers\.\d+\.3\.(norm\.weight|fn\.net\.0\.weight)$"),
        f"its layers differ from those of 0.5 and later; {_PLAIN}",
    ),
    _Family(
        "an autoregressive Perceiver AR (perceiver-ar-pytorch)",
        re.compile(r"(^|\.)perceive_layers\.|(^|\.)rotary_pos_emb\.inv_freq$"),
        "it makes text one symbol at a time, which perceiver_edge does not compile",
    ),
    _Family(
        "a Perceiver of krasserm's perceiver-io",
        re.compile(r"(^|\.)(latent_provider|input_adapter|output_query_provider)\.|\.cross_attn_(1|n)\."),
        'put a config.json beside the file: {"model_type": "perceiver-io-image-classifier" (or -text-classifier, '
        '-masked-language-model), "model_config": {"encoder": {…}, "decoder": {…}, "num_latents": …, '
        '"num_latent_channels": …}} with the arguments that it was built with (docs/huggingface.md)',
    ),
    _Family(
        "a Perceiver resampler (Flamingo)",
        re.compile(r"(^|\.)(media_pos_emb|media_time_embeds)$|\.norm_media\."),
        "it is a part of a vision-language model; perceiver_edge compiles whole Perceivers",
    ),
)


def require_perceiver(names: Collection[str], *, where: object = None) -> None:
    """Raises BadInputError where no canonical name is one of a Perceiver's: something else lies in the file."""
    if not any(
        name == "latents" or re.match(r"layers\.\d+\.(cross_attn|cross_ff|self_attns)\.", name) for name in names
    ):
        raise BadInputError(
            "These are not the weights of a Perceiver.",
            expected="names such as latents and layers.0.cross_attn.fn.to_q.weight",
            got=few(names) if names else "no tensors", where=where,
            fix="docs/scope.md says which models can be compiled",
        )  # fmt: skip


def refuse_foreign(names: Collection[str], *, where: object = None) -> None:
    """Raises BadInputError where ``names`` are of a model that perceiver_edge does not compute; it says which."""
    for family in _FAMILIES:
        if found := [name for name in names if family.tensors.search(name)]:
            raise BadInputError(
                f"The weights are of {family.name}, which cannot be read like this.",
                expected="the state dict of a perceiver_pytorch.Perceiver, 0.5 or later, or of perceiver_edge's own",
                got=few(found), where=where, fix=family.help,
            )  # fmt: skip
