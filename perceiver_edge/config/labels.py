"""What classes are called, where transformers keeps it: ``id2label`` of a ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def names_in_id2label(values: Mapping[str, Any], count: int) -> tuple[str, ...] | None:
    """The names of ``count`` classes in the order of the logits; None where there are only placeholders, or none.

    No two are equal, and none is empty. ImageNet has two classes called crane: of equal names each gets its number.
    """
    labels = values.get("id2label")
    if not isinstance(labels, Mapping):
        return None
    names = [_readable(labels.get(str(i), labels.get(i))) or f"LABEL_{i}" for i in range(count)]
    if all(name == f"LABEL_{i}" for i, name in enumerate(names)):
        return None
    numbered = [f"{name} ({i})" for i, name in enumerate(names)]
    some = [number if names.count(name) > 1 else name for name, number in zip(names, numbered, strict=True)]
    return tuple(some if len({*some}) == count else numbered)


def _readable(name: object) -> str:
    """A name that files can hold: JSON may have half of a pair of UTF-16. Empty for none."""
    return "" if name is None else str(name).encode(errors="replace").decode().strip()
