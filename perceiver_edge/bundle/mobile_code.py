"""What an app for Android or iOS writes to run an artefact: names, shapes and literals for its model card."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perceiver_edge.bundle.manifest import Artefact, TensorSpec

SIGNATURE = "serving_default"
"""The name that the TFLite converter gives a model's one entry point."""

_PLAIN = frozenset(" _-.")


def mobile_code(name: str, artefact: Artefact) -> dict[str, Any]:
    """Values for ``mobile_code.md.j2``; all text is safe inside a code block.

    ``inputs`` and ``outputs`` have their position, name, shape and element count; an open size counts as 1.
    """
    return {
        "format": artefact.format,
        "file": _literals(name),
        "signature": SIGNATURE,
        "inputs": [_tensor(tensor, place) for place, tensor in enumerate(artefact.inputs)],
        "outputs": [_tensor(tensor, place) for place, tensor in enumerate(artefact.outputs)],
    }


def _tensor(tensor: TensorSpec, place: int) -> dict[str, Any]:
    shape = [max(size, 1) for size in tensor.shape]
    return {
        "place": place,
        "name": _literals(tensor.name),
        "shape": ", ".join(map(str, shape)),
        "count": math.prod(shape),
        "is_bool": tensor.dtype == "bool",
    }


def _literals(text: str) -> dict[str, Any]:
    """The text as a string literal of each language: what either could take for syntax is escaped."""
    from markupsafe import Markup

    kotlin = "".join(c if _is_plain(c) else "".join(f"\\u{unit:04x}" for unit in _utf16(c)) for c in text)
    swift = "".join(c if _is_plain(c) else f"\\u{{{ord(c):x}}}" for c in text)
    return {"kotlin": Markup(f'"{kotlin}"'), "swift": Markup(f'"{swift}"')}


def _is_plain(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in _PLAIN)


def _utf16(character: str) -> list[int]:
    encoded = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(encoded[at : at + 2], "big") for at in range(0, len(encoded), 2)]
