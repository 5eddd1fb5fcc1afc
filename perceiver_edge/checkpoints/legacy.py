"""The weight names of perceiver-pytorch 0.8, where a layer was the list (cross-attend, feed-forward, self-attends)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from perceiver_edge.errors import BadInputError

_PARTS = {"0": "cross_attn", "1": "cross_ff", "2": "self_attns"}
_LEGACY_NAME = re.compile(r"layers\.(\d+)\.([012])\.(.+)")


def canonical_names(names: Iterable[str], *, where: object = None) -> dict[str, str]:
    """Map every name found in a file to its canonical name; canonical and unknown names map to themselves.

    Raises:
        BadInputError: two names of the file mean the same weight.
    """
    found: dict[str, str] = {}
    for name in names:
        canonical = _LEGACY_NAME.sub(lambda match: f"layers.{match[1]}.{_PARTS[match[2]]}.{match[3]}", name)
        if canonical in found:
            raise BadInputError(
                "Two tensors are the same weight, under its new and its old name.",
                expected=f"only {canonical}",
                got=f"{found[canonical]} and {name}",
                where=where,
            )
        found[canonical] = name
    return {name: canonical for canonical, name in found.items()}
