"""What a program writes to answer with an artefact: names, shapes and literals in each language, for the model card.

A model of pictures is fed a picture file; any other is fed the numbers of one sample, float32 in a file.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from perceiver_edge.bundle.pictures import normalisation, preprocessing_of, takes_pictures
from perceiver_edge.files.preprocessing import KEPT, MODE_OF_CHANNELS, Pictures

if TYPE_CHECKING:
    from perceiver_edge.bundle.manifest import Artefact, Manifest, TensorSpec

LABELS_NAME = "labels.txt"
"""Of the file with the class names, one a line, in a bundle whose classes have names."""

SIGNATURE = "serving_default"
"""The name that the TFLite converter gives a model's one entry point."""

WEB_VERSION = "1.30.0"
"""Of onnxruntime-web: the one of the demo's ``package.json``, which is what was tested."""

_NUMBERS: dict[str, dict[str, str | bool]] = {
    "float32": {
        "numpy": "float32", "file": "sample.f32", "javascript": "Float32Array", "tensor": "float32", "cpp": "float",
        "kotlin": "Float", "swift": "Float32", "is_float": True,
    },
    "int32": {
        "numpy": "int32", "file": "sample.i32", "javascript": "Int32Array", "tensor": "int32", "cpp": "int32_t",
        "kotlin": "Int", "swift": "Int32", "is_float": False,
    },
}  # fmt: skip
"""What the numbers of an input are called, by dtype."""

_PLAIN = frozenset(" _-.")


def app_code(manifest: Manifest) -> dict[str, Any]:
    """Values for ``app_code.md.j2``; all text is safe inside a code block.

    Of each format the smallest artefact is shown.
    """
    smallest = {
        artefact.format: (name, artefact)
        for name, artefact in sorted(manifest.artefacts.items(), key=lambda item: -item[1].size_bytes)
    }
    shown = [_artefact(name, artefact) for _, (name, artefact) in sorted(smallest.items(), reverse=True)]
    return {
        "shown": shown,
        "by_format": {code["format"]: code for code in shown},
        "picture": _picture(manifest),
        "prepared": _prepared(manifest, shown[0]),
        "is_classifier": manifest.is_classifier,
        "labels": None if labels_text(manifest) is None else LABELS_NAME,
        "signature": SIGNATURE,
        "web_version": WEB_VERSION,
    }


def labels_text(manifest: Manifest) -> str | None:
    """The contents of `LABELS_NAME`; None where classes have no names, or one that is no line."""
    names = manifest.class_names
    are_lines = all(name.splitlines() == [name] for name in names or ())  # in Python, which knows most ends of lines
    return "\n".join(names) + "\n" if names and are_lines else None


def _picture(manifest: Manifest) -> dict[str, Any] | None:
    """How a picture becomes input; None where the input is no picture."""
    spec, channels = manifest.input_spec, manifest.config.input_channels
    if not takes_pictures(manifest.config):
        return None
    height, width = spec.shape
    spread = {
        name: [float(value) for value in (values * channels if len(values) == 1 else values)]
        for name, values in (("mean", spec.mean), ("deviation", spec.std))
    }
    larger = [round(size / KEPT) for size in (height, width)]
    return {
        "height": height, "width": width, "channels": channels, "mode": MODE_OF_CHANNELS[channels],
        "bytes": "gray" if channels == 1 else "rgb", "resize": spec.resize or "cover", "border": float((1 - KEPT) / 2),
        "larger_height": larger[0], "larger_width": larger[1], "kept": KEPT, "normalised": normalisation(spec),
        **spread,
    }  # fmt: skip


def _prepared(manifest: Manifest, code: dict[str, Any]) -> str | None:
    """What our runtime prepares by itself, as an argument of `Runner.preprocess`; None where it prepares nothing."""
    prepares = preprocessing_of(manifest.config, manifest.input_spec)
    if prepares is None or code["data"]["batch"] != 1:
        return None
    takes_mask = bool(code["others"])
    if isinstance(prepares, Pictures):
        return None if takes_mask else '"picture.png"'
    return '"A text of yours."' if takes_mask else None  # what becomes of a text has a mask


def _artefact(name: str, artefact: Artefact) -> dict[str, Any]:
    data = _tensor(artefact.inputs[0], 0)
    return {
        "format": artefact.format,
        "engine": {"tflite": "litert", "onnx": "onnxruntime"}[artefact.format],
        "file": _literals(name),
        "data": data,
        "batched": "sample[np.newaxis]"
        if data["batch"] == 1
        else f"np.repeat(sample[np.newaxis], {data['batch']}, axis=0)",
        "others": [_tensor(tensor, place) for place, tensor in enumerate(artefact.inputs[1:], start=1)],
        "outputs": [_tensor(tensor, place) for place, tensor in enumerate(artefact.outputs)],
    }


def _tensor(tensor: TensorSpec, place: int) -> dict[str, Any]:
    shape = [max(size, 1) for size in tensor.shape]
    return {
        "place": place,
        "name": _literals(tensor.name),
        "shape": ", ".join(map(str, shape)),
        "tuple": f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})",
        "sample": f"({', '.join(map(str, shape[1:]))}{',' if len(shape) == 2 else ''})",
        "rank": len(shape),
        "batch": shape[0],
        "count": math.prod(shape),
        "sample_count": math.prod(shape[1:]),
        "is_bool": tensor.dtype == "bool",
        "numbers": _NUMBERS.get(tensor.dtype, _NUMBERS["float32"]),
    }


def _literals(text: str) -> dict[str, Any]:
    """The text as a string literal of each language: what one of them could take for syntax is escaped."""
    from markupsafe import Markup

    kotlin = "".join(c if _is_plain(c) else "".join(f"\\u{unit:04x}" for unit in _utf16(c)) for c in text)
    swift = "".join(c if _is_plain(c) else f"\\u{{{ord(c):x}}}" for c in text)
    octal = "".join(c if _is_plain(c) else "".join(f"\\{byte:03o}" for byte in c.encode()) for c in text)
    return {
        "python": Markup(ascii(text)),
        "kotlin": Markup(f'"{kotlin}"'),
        "javascript": Markup(f'"{kotlin}"'),  # both have \\uXXXX of UTF-16
        "swift": Markup(f'"{swift}"'),
        "cpp": Markup(f'"{octal}"'),
    }


def _is_plain(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in _PLAIN)


def _utf16(character: str) -> list[int]:
    encoded = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(encoded[at : at + 2], "big") for at in range(0, len(encoded), 2)]
