"""Which Keras variable is which canonical weight (see `perceiver_edge.checkpoints.expected_shapes`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from perceiver_edge.model.attention import Attention
from perceiver_edge.model.attention_residual import AttentionResidual
from perceiver_edge.model.block import PerceiverBlock
from perceiver_edge.model.feed_forward import FeedForward
from perceiver_edge.model.layer_norm import LayerNorm

Named = Iterator[tuple[str, keras.Variable]]


def named_variables(
    latents: keras.Variable,
    blocks: Iterable[PerceiverBlock],
    pools: Iterable[AttentionResidual],
    head: tuple[LayerNorm, keras.layers.Dense] | None,
) -> dict[str, keras.Variable]:
    """Every variable that is a weight, by canonical name. ``head``: the normalisation and the classifier."""
    return dict(_model(latents, blocks, pools, head))


def flip_linear(name: str, weight: np.ndarray) -> np.ndarray:
    """Turn a Linear weight between Keras' ``[in, out]`` and the canonical ``[out, in]``; pass others through."""
    return weight.T if weight.ndim == 2 and name != "latents" else weight


def _model(
    latents: keras.Variable,
    blocks: Iterable[PerceiverBlock],
    pools: Iterable[AttentionResidual],
    head: tuple[LayerNorm, keras.layers.Dense] | None,
) -> Named:
    yield "latents", latents
    for index, block in enumerate(blocks):
        name = f"layers.{index}"
        yield from _attention(f"{name}.cross_attn", block.cross_attn)
        yield from _feed_forward(f"{name}.cross_ff", block.cross_ff)
        for j, (attend, feed_forward) in enumerate(zip(block.self_attns, block.self_ffs, strict=True)):
            yield from _attention(f"{name}.self_attns.{j}.0", attend)
            yield from _feed_forward(f"{name}.self_attns.{j}.1", feed_forward)
    for index, pool in enumerate(pools):
        name = f"attn_residuals.{index}.to_attn_logits"
        yield f"{name}.0.weight", pool.gamma
        yield from _linear(f"{name}.1", pool.down)
        yield from _linear(f"{name}.2", pool.up)
    if head is not None:
        norm, classifier = head
        yield from _norm("to_logits.1", norm)
        yield from _linear("to_logits.2", classifier)


def _attention(name: str, layer: Attention) -> Named:
    yield from _norm(f"{name}.norm", layer.norm)
    if layer.norm_context is not None:
        yield from _norm(f"{name}.norm_context", layer.norm_context)
    yield from _linear(f"{name}.fn.to_q", layer.to_q)
    yield from _linear(f"{name}.fn.to_kv", layer.to_kv)
    yield from _linear(f"{name}.fn.to_out", layer.to_out)


def _feed_forward(name: str, layer: FeedForward) -> Named:
    yield from _norm(f"{name}.norm", layer.norm)
    yield from _linear(f"{name}.fn.net.0", layer.expand)
    yield from _linear(f"{name}.fn.net.2", layer.project)


def _linear(name: str, layer: keras.layers.Dense) -> Named:
    yield f"{name}.weight", layer.kernel
    if layer.use_bias:
        yield f"{name}.bias", layer.bias


def _norm(name: str, layer: LayerNorm) -> Named:
    yield f"{name}.weight", layer.gamma
    yield f"{name}.bias", layer.beta


_SAVED_LAYER = re.compile(r"(?:^|/)block(?:_|s/)(\d+)/(cross|self)_(attn|ff)(?:s?[_/](\d+))?/(\w+)/_?(\w+)$")
_SAVED_POOL = re.compile(r"(?:^|/)attn_residuals?[_/](\d+)/(?:(down|up)/)?_?(\w+)$")
_POOL_PARTS = {None: 0, "down": 1, "up": 2}
_SAVED_REST = re.compile(r"(?:^|/)(latents|head_norm|head)(?:/_?(\w+))?$")
_PARTS = {
    "norm": "norm", "norm_context": "norm_context", "to_q": "fn.to_q", "to_kv": "fn.to_kv", "to_out": "fn.to_out",
    "expand": "fn.net.0", "project": "fn.net.2",
}  # fmt: skip
_KINDS = {"gamma": "weight", "kernel": "weight", "beta": "bias", "bias": "bias"}


def saved_name(path: str) -> str | None:
    """The canonical name of a variable by its path in a SavedModel; None for one that is no weight of a Perceiver.

    Both ways of saving are known: the layers' own names (``perceiver/block_0/self_attn_1/to_q/kernel``, of
    ``model.export``) and attributes (``blocks/0/self_attns/1/to_q/_kernel``, of ``tf.saved_model.save``).
    """
    if match := _SAVED_LAYER.search(path):
        index, side, kind, place, part, variable = match.groups()
        if part not in _PARTS or variable not in _KINDS:
            return None
        block = f"cross_{kind}" if side == "cross" else f"self_attns.{place}.{0 if kind == 'attn' else 1}"
        return f"layers.{index}.{block}.{_PARTS[part]}.{_KINDS[variable]}"
    if match := _SAVED_POOL.search(path):
        index, part, variable = match.groups()
        kind = _KINDS.get(variable)
        return None if kind is None else f"attn_residuals.{index}.to_attn_logits.{_POOL_PARTS[part]}.{kind}"
    if match := _SAVED_REST.search(path):
        owner, variable = match.groups()
        if owner == "latents":
            return "latents" if variable is None else None
        return f"to_logits.{1 if owner == 'head_norm' else 2}.{_KINDS.get(variable)}"
    return None
