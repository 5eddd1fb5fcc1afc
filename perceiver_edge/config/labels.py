"""What classes are called, where transformers keeps it: ``id2label`` of a ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def names_in_id2label(values: Mapping[str, Any], count: int) -> tuple[str, ...] | None:
    """The names of ``count`` classes in the order of the logits; None where there are only placeholders, or none.

    ImageNet has two classes called crane: of equal names each gets its number.
    """
    labels = values.get("id2label")
    if not isinstance(labels, Mapping):
        return None
    given = [labels.get(str(i), labels.get(i)) for i in range(count)]
    names = [f"LABEL_{i}" if name is None else str(name) for i, name in enumerate(given)]
    if all(name == f"LABEL_{i}" for i, name in enumerate(names)):
        return None
    return tuple(f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names))
