"""What the bundle that a model lies in says about it: names of its classes, and how inputs are made for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perceiver_edge.errors import BadInputError
from perceiver_edge.files.preprocessing import Preprocessing, from_dict
from perceiver_edge.files.reading import MOST_TEXT_BYTES, read_file

_MANIFEST_NAME = "manifest.json"


def manifest_beside(model: Path) -> Mapping[str, Any]:
    """The bundle's manifest; empty for a model that lies in no bundle, or is not the file of that name and size which
    the manifest lists."""
    try:
        manifest = json.loads(read_file(model.parent / _MANIFEST_NAME, most_bytes=MOST_TEXT_BYTES))
        is_listed = manifest["artefacts"][model.name]["size_bytes"] == model.stat().st_size
    except (BadInputError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return manifest if is_listed else {}


def class_names_in(manifest: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What it calls the classes, None where it does not."""
    names = manifest.get("class_names")
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list and names is not None else None


def preprocessing_in(manifest: Mapping[str, Any]) -> Preprocessing | None:
    """What makes inputs of pictures or texts; None where it does not say."""
    values = manifest.get("preprocessing")
    try:
        return from_dict(values) if isinstance(values, Mapping) else None
    except BadInputError:  # of a later version
        return None


def input_range_in(manifest: Mapping[str, Any]) -> tuple[float, float] | None:
    """(least, greatest) number that the model was proven with; None where it is not said."""
    limits = manifest.get("input_range")
    if not isinstance(limits, list) or len(limits) != 2 or not all(type(limit) in (int, float) for limit in limits):
        return None
    try:
        return float(limits[0]), float(limits[1])
    except OverflowError:  # whole numbers have no end in JSON
        return None
