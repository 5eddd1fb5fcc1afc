"""From the names in a file to the canonical ones: prefixes of wrappers, and the names of perceiver-pytorch 0.5 to 0.10.

| perceiver-pytorch | a layer | to_out, net | to_logits | Fourier bands |
|---|---|---|---|---|
| 0.5 to 0.7.0 | ``layers.N.0`` | ``to_out.0``, ``net.3`` | ``0``, ``1`` | logarithmic |
| 0.7.1 to 0.7.3 | the same | the same | ``1``, ``2`` | logarithmic, in 0.7.2 up to 10^ln(max_freq / 2) |
| 0.7.4 and 0.7.5 | the same | the same | the same | linear |
| 0.8 to 0.10 | the same | ``to_out``, ``net.2`` | the same | linear |
| 0.11, canonical | ``layers.N.cross_attn`` | the same | the same | linear |
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import numpy as np

from perceiver_edge.errors import BadInputError

FREQ_BASE_OF_0_7 = 2.0
"""The default of ``freq_base`` as long as perceiver-pytorch had it."""

_LATENTS = "latents"
_PARTS = {"0": "cross_attn", "1": "cross_ff", "2": "self_attns"}
_LAYER_AS_LIST = re.compile(r"layers\.(\d+)\.([012])\.(.+)")
_RENAMED = (
    (re.compile(r"(\.fn\.to_out)\.0\.(weight|bias)$"), r"\1.\2"),  # to_out had a dropout
    (re.compile(r"(\.fn\.net)\.3\.(weight|bias)$"), r"\1.2.\2"),  # the dropout stood before the last layer
)
_HEAD_WITHOUT_MEAN = re.compile(r"to_logits\.([01])\.(weight|bias)")

NAMES_SHOWN = 4


def own_tensors(tensors: Mapping[str, np.ndarray], *, where: object = None) -> dict[str, np.ndarray]:
    """The tensors of the one Perceiver among ``tensors``, without the prefix that a wrapper put before their names.

    ``module.`` is DistributedDataParallel's, ``_orig_mod.`` torch.compile's, ``model.`` a name in a LightningModule;
    any other is taken off too. Counters of the wrapper (integers without axes) are left out.

    Raises:
        BadInputError: two Perceivers, or tensors besides it.
    """
    roots = _roots(tensors)
    if len(roots) > 1:
        shown = ", ".join(repr(root) for root in roots)
        raise BadInputError(
            "There are several Perceivers in the file.", expected="one", got=f"the prefixes {shown}", where=where,
            fix=f"save one of them: {{n.removeprefix(p): t for n, t in state.items() if n.startswith(p)}} with "
            f"p = {roots[0]!r}",
        )  # fmt: skip
    if not roots or not roots[0]:
        return dict(tensors)
    (root,) = roots
    others = [
        name
        for name, tensor in tensors.items()
        if not name.startswith(root) and not (tensor.ndim == 0 and np.issubdtype(tensor.dtype, np.integer))
    ]
    if others:
        raise BadInputError(
            "There are weights beside the Perceiver's, so it is a part of a larger model.",
            expected=f"only names that start with {root!r}", got=few(others), where=where,
            fix="if what they do is not needed, save the Perceiver's alone: "
            f"{{n.removeprefix({root!r}): t for n, t in state.items() if n.startswith({root!r})}}",
        )  # fmt: skip
    return {name.removeprefix(root): tensor for name, tensor in tensors.items() if name.startswith(root)}


def _roots(names: Collection[str]) -> list[str]:
    """What stands before the names of each Perceiver."""
    before = [name.removesuffix(_LATENTS) for name in names if name == _LATENTS or name.endswith(f".{_LATENTS}")]
    return [root for root in before if any(name.startswith(f"{root}layers.") for name in names)]


def canonical_names(names: Iterable[str], *, where: object = None) -> dict[str, str]:
    """Map every name found in a file to its canonical name; canonical and unknown names map to themselves.

    Raises:
        BadInputError: two names of the file mean the same weight.
    """
    names = list(names)
    has_mean = not any(name.startswith("to_logits.0.") for name in names)
    found: dict[str, str] = {}
    for name in names:
        canonical = _LAYER_AS_LIST.sub(lambda match: f"layers.{match[1]}.{_PARTS[match[2]]}.{match[3]}", name)
        for pattern, replacement in _RENAMED:
            canonical = pattern.sub(replacement, canonical)
        if not has_mean:
            canonical = _HEAD_WITHOUT_MEAN.sub(lambda match: f"to_logits.{int(match[1]) + 1}.{match[2]}", canonical)
        if canonical in found:
            raise BadInputError(
                "Two tensors are the same weight, under its new and its old name.",
                expected=f"only {canonical}",
                got=f"{found[canonical]} and {name}",
                where=where,
            )
        found[canonical] = name
    return {name: canonical for canonical, name in found.items()}


def bands_of(names: Collection[str]) -> Literal["linear", "logarithmic", "unknown"]:
    """How the version of perceiver-pytorch that wrote these names spaces its Fourier bands: see the table above."""
    if any(name.startswith("to_logits.0.") for name in names):
        return "logarithmic"
    return "unknown" if any(name.endswith(".fn.to_out.0.weight") for name in names) else "linear"


def few(names: Collection[str]) -> str:
    """The first of many names, for a message."""
    shown = ", ".join(list(names)[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"
