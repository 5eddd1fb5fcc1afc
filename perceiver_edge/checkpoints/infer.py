"""The configuration that a file of weights tells by its shapes, and one error that asks for the rest by name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeGuard

import numpy as np

from perceiver_edge.checkpoints.names import FREQ_BASE_OF_0_7
from perceiver_edge.errors import BadInputError, counted, option

Bands = Literal["linear", "logarithmic", "unknown"]

_USUAL_CHANNELS = (3, 1)
"""Of pictures: to say which number of bands would fit them. Never assumed."""

UNKNOWN = "…"

_USUAL_HEADS = {"cross": 1, "latent": 8}
"""perceiver-pytorch's defaults: where there is a config.json, an argument that it leaves out is the default."""

_A_CROSS, _A_LATENT = "layers.0.cross_attn", "layers.0.self_attns.0.0"


class _Asked(NamedTuple):
    """A value that shapes do not tell. ``example`` is a likely value, `UNKNOWN` where nothing speaks for any."""

    name: str
    why: str
    example: object


def complete_config(
    given: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    *,
    bands: Bands,
    is_call: bool,
    input_shape: Sequence[int] | None = None,
    where: object = None,
) -> dict[str, Any]:
    """``given``, completed by what the shapes of ``weights`` (canonical names) tell. What is given stays as it is.

    Args:
        bands: how the Fourier bands are spaced, as far as the names tell (`names.bands_of`).
        is_call: whether ``given`` are the arguments of a constructor, as a config.json has them: an argument left out
            then has perceiver-pytorch's default.
        input_shape: the sizes of the input axes, where they are known from elsewhere.

    Raises:
        BadInputError: shapes do not tell enough; the message names every value that is missing.
    """
    if "latents" not in weights or f"{_A_CROSS}.fn.to_q.weight" not in weights:
        return dict(given)  # no Perceiver: `fit_weights` says so, better than anything could here
    values = {**_told(weights), **given}
    asked: list[_Asked] = []
    for side, layer in (("cross", _A_CROSS), ("latent", _A_LATENT)):
        asked += _complete_heads(values, weights, side, layer, is_call=is_call, where=where)
    shape = values.get("input_shape", input_shape)
    asked += _complete_context(values, weights, shape, bands)
    if shape is None and (asked or ("input_axis" not in values and not is_call)):
        asked.append(_Asked("input_shape", "the sizes of the input axes, such as 224,224", UNKNOWN))
    if asked:
        raise _not_enough(asked, weights, where)
    return values


def _told(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    num_latents, latent_dim = weights["latents"].shape
    depth = 1 + max(int(match[1]) for name in weights if (match := re.match(r"layers\.(\d+)\.", name)))
    attends = {match[1] for name in weights if (match := re.match(r"layers\.0\.self_attns\.(\d+)\.", name))}
    head = weights.get("to_logits.2.weight")
    told = {
        "num_latents": num_latents, "latent_dim": latent_dim, "depth": depth, "self_per_cross_attn": len(attends),
        "weight_tie_layers": _are_tied(weights, depth), "final_classifier_head": head is not None,
    }  # fmt: skip
    pool = weights.get("attn_residuals.0.to_attn_logits.1.weight")
    if pool is not None:
        told |= {"attn_residual": True, "attn_residual_rank": pool.shape[0]}
    return told if head is None else {**told, "num_classes": head.shape[0]}


def _are_tied(weights: Mapping[str, np.ndarray], depth: int) -> bool:
    """Whether all layers from the second on are one: torch writes a shared module once for each of its uses."""
    second = {name.removeprefix("layers.1."): w for name, w in weights.items() if name.startswith("layers.1.")}
    return depth > 2 and all(
        (other := weights.get(f"layers.{index}.{name}")) is not None and np.array_equal(other, weight)
        for index in range(2, depth)
        for name, weight in second.items()
    )


def _complete_heads(
    values: dict[str, Any],
    weights: Mapping[str, np.ndarray],
    side: str,
    layer: str,
    *,
    is_call: bool,
    where: object,
) -> list[_Asked]:
    """Heads times channels of a head is the width of the queries; either tells the other."""
    heads, channels = f"{side}_heads", f"{side}_dim_head"
    queries = weights.get(f"{layer}.fn.to_q.weight")
    if queries is None:
        return []  # there are no self-attends, or a tensor is missing, which `fit_weights` names
    width, usual = queries.shape[0], _USUAL_HEADS[side]
    if is_call:
        given = values.get(channels)
        fits = channels not in values or (_is_count(given) and usual * given == width)
        if fits and heads not in values and width % usual == 0:
            values[heads] = usual
    for one, other in ((heads, channels), (channels, heads)):
        if one in values and other not in values and _is_count(values[one]):
            if values[one] == 0 or width % values[one]:
                raise BadInputError(
                    f"{one} does not fit the weights.", expected=f"{heads} × {channels} = {width}", got=values[one],
                    where=where,
                )  # fmt: skip
            values[other] = width // values[one]
    if heads in values or channels in values:
        return []
    why = f"{heads} × {channels} is {width}; perceiver-pytorch's default is {usual}"
    return [_Asked(heads, why, UNKNOWN)]  # its default may divide the width and be wrong all the same


def _complete_context(
    values: dict[str, Any],
    weights: Mapping[str, np.ndarray],
    shape: Sequence[int] | None,
    bands: Bands,
) -> list[_Asked]:
    """A token's channels: those of the data and, with Fourier features, ``input_axis * (2 * num_freq_bands + 1)``."""
    to_kv = weights.get(f"{_A_CROSS}.fn.to_kv.weight")
    if to_kv is None:
        return []
    width = to_kv.shape[1]
    if "input_axis" not in values and isinstance(shape, Sequence):
        values["input_axis"] = len(shape)
    if values.get("fourier_encode_data") is False:
        for name, unused in (("input_channels", width), ("num_freq_bands", 0), ("max_freq", 1.0)):
            values.setdefault(name, unused)
        return []
    asked = _complete_bands(values, width)
    if "max_freq" not in values:
        asked.append(_Asked("max_freq", "as Perceiver(…) was given it", UNKNOWN))
    if "freq_base" not in values and values.get("num_freq_bands") not in (0, 1):
        if bands == "logarithmic":
            values["freq_base"] = FREQ_BASE_OF_0_7
        elif bands == "unknown":
            asked.append(_Asked("freq_base", _BASE_OF_0_7, UNKNOWN))
    return asked


_BASE_OF_0_7 = (
    "2 if perceiver-pytorch was 0.7.1 to 0.7.3, null if it was 0.7.4 or 0.7.5 (with 0.7.2, whose bands end elsewhere, "
    "also max_freq = 2 × 10^ln(max_freq / 2) instead of the one you chose)"
)


def _complete_bands(values: dict[str, Any], width: int) -> list[_Asked]:
    axes = values.get("input_axis", 2)
    if not isinstance(axes, int) or axes < 1:
        return []
    channels, num_bands = values.get("input_channels"), values.get("num_freq_bands")
    if channels is not None and num_bands is None and _is_count(channels):
        per_axis, rest = divmod(width - channels, axes)
        if rest == 0 and per_axis >= 1 and per_axis % 2 == 1:
            values["num_freq_bands"] = (per_axis - 1) // 2
            return []
    elif num_bands is not None and channels is None and _is_count(num_bands):
        values["input_channels"] = width - axes * (2 * num_bands + 1)
        return []
    elif channels is not None and num_bands is not None:
        return []  # `fit_weights` checks them
    usual = {
        (width - c - axes) // (2 * axes): f"with {counted(c, 'input channel')}"
        for c in _USUAL_CHANNELS
        if width - c - axes >= 0 and (width - c - axes) % (2 * axes) == 0
    }
    formula = f"input_channels + input_axis × (2 × num_freq_bands + 1) is {width}"
    why = "; ".join([formula, *(f"{bands} {condition}" for bands, condition in usual.items())])
    return [_Asked("num_freq_bands", why, next(iter(usual), UNKNOWN))]


def _not_enough(asked: Sequence[_Asked], weights: Mapping[str, np.ndarray], where: object) -> BadInputError:
    names = "".join(f"\n{ask.name}: {ask.why}" for ask in asked)
    told = ", ".join(f"{name} {json.dumps(value)}" for name, value in _told(weights).items())
    examples = {ask.name: ask.example for ask in asked}
    shape = option("input_shape", (examples.pop("input_shape"),)) if "input_shape" in examples else ""
    line = " ".join(filter(None, [option("config", examples) if examples else "", shape]))
    return BadInputError(
        "The weights do not tell the whole configuration of the Perceiver.",
        expected=f"besides, from where the model was trained:{names}",
        got=f"from the shapes: {told}",
        where=where,
        fix=f"add, with your values: {line}\nor put them into a config.json beside the file",
    )


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
