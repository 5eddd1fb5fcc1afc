"""A file of weights → named arrays, whatever wrote it; what cannot be read is told what it is and what to do."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perceiver_edge.checkpoints.torch_files import names_in_archive, read_torch_file
from perceiver_edge.errors import BadInputError, importing
from perceiver_edge.files.reading import read_file

_NUMPY_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}

_TORCH_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of torch.save before 1.6 begin: a pickled constant of torch's."""

_ZIP_MAGIC = b"PK\x03\x04"

_KERAS_WEIGHTS = "model.weights.h5"
"""In a .keras file."""

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

_PICKLE_PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")

_OTHER_SUFFIXES = {".msgpack", ".index", ".meta", ".npz", ".npy", ".h5", ".json", ".txt", ".zip"}

_HEADER_LIMIT_BYTES = 100_000_000
"""safetensors' own limit for the JSON at the start of a file."""

MOST_WEIGHTS_BYTES = 16 << 30
"""Of a file of weights: four thousand million parameters, more than any device's model has."""

READABLE = "model.safetensors, or a state dict of PyTorch (.pt, .pth, .ckpt, .bin)"


class TensorFile(NamedTuple):
    """``tensors`` by the names in the file; ``arguments``: the model's, where a training script kept them there."""

    tensors: dict[str, np.ndarray]
    arguments: Mapping[str, Any]


def read_tensors(path: Path) -> TensorFile:
    """Read a safetensors file, or one that ``torch.save`` wrote; its content decides, not its suffix.

    float16 and bfloat16 may become float32, which holds each of their values.

    Raises:
        BadInputError: no such file, one of another kind, or a damaged one.
        MissingExtraError: safetensors is not installed.
    """
    head = _head(path)
    if head.startswith(_ZIP_MAGIC):
        names = names_in_archive(path)
        if not names:
            raise BadInputError(
                "The weights are damaged.", expected="a whole zip archive, which torch.save writes",
                got="one without a readable directory at its end", where=path,
            )  # fmt: skip
        if _KERAS_WEIGHTS in names:
            raise _other_kind(
                path, "a model of Keras", "compile it by its path, or load it with keras.saving.load_model"
            )
        return TensorFile(*read_torch_file(path))
    if head.startswith(_TORCH_LEGACY_MAGIC):
        return TensorFile(*read_torch_file(path))
    if help_ := _known_other(head, path):
        raise _other_kind(path, *help_)
    return TensorFile(_read_safetensors(path), {})


def _head(path: Path) -> bytes:
    return read_file(path, most_bytes=MOST_WEIGHTS_BYTES, what="A file of the model", start=32)


def is_keras_file(path: Path) -> bool:
    """Whether it is what ``model.save("model.keras")`` wrote."""
    return path.is_file() and _KERAS_WEIGHTS in names_in_archive(path)


def _known_other(head: bytes, path: Path) -> tuple[str, str] | None:
    """What a file is that is neither of PyTorch nor of safetensors, and what helps; None where it may be the latter."""
    suffix = path.suffix.lower()
    kinds = (
        (head.startswith(_HDF5_MAGIC), "an HDF5 file", "from Keras, save the whole model as model.keras, or call "
         "model.save_pretrained(folder)"),
        (head[4:8] == b"TFL3" or suffix == ".onnx", "a compiled model", "pass the trained model that it was made of"),
        (head.startswith(b"GGUF"), "a GGUF file", "pass the trained model that it was made of"),
        (head.startswith(b"version https://git-lfs"), "a pointer of Git LFS, not the weights", "run git lfs pull"),
        (head[:1] == b"\x80" and head[1:2] in _PICKLE_PROTOCOLS, "a Python pickle, as JAX and Haiku programs write",
         "it is not read, because that could run any code. DeepMind's published Perceivers exist as PyTorch models of "
         "Hugging Face transformers: vision-perceiver-fourier, -learned and -conv, language-perceiver"),
        (suffix in _OTHER_SUFFIXES, f"a {suffix} file", f"pass {READABLE}, or a folder with config.json"),
    )  # fmt: skip
    return next(((what, fix) for matches, what, fix in kinds if matches), None)


def _other_kind(path: Path, what: str, fix: str) -> BadInputError:
    return BadInputError(f"This file is {what}.", expected=READABLE, where=path, fix=fix)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    with importing("safetensors", "convert"):
        from safetensors import SafetensorError, deserialize
    content = read_file(path, most_bytes=MOST_WEIGHTS_BYTES, what="A file of the model")
    try:
        entries = deserialize(content)
    except SafetensorError as error:
        raise _no_safetensors(content, path, error) from error
    tensors = {name: _to_array(name, entry, path) for name, entry in sorted(entries, key=lambda e: e[0])}
    # safetensors.torch.save_model stores shared tensors once and notes their other names: a tied depth can be checked.
    aliases = {name: kept for name, kept in _metadata(content).items() if kept in tensors and name not in tensors}
    return tensors | {name: tensors[kept] for name, kept in aliases.items()}


def _no_safetensors(content: bytes, path: Path, error: Exception) -> BadInputError:
    """A damaged file, or one that never was of this kind."""
    length = struct.unpack("<Q", content[:8])[0] if len(content) >= 8 else 0
    if path.suffix == ".safetensors" or (length <= _HEADER_LIMIT_BYTES and content[8:9] == b"{"):
        return BadInputError("The weights are damaged.", expected="a complete safetensors file", got=error, where=path)
    return BadInputError(
        "The weights are in a form that is not known, or damaged.", expected=READABLE,
        got=f"a file that begins with {content[:8]!r}" if content else "an empty file", where=path,
    )  # fmt: skip


def _metadata(content: bytes) -> dict[str, str]:
    """The free-form mapping in the header of a safetensors file that `deserialize` has found whole."""
    (length,) = struct.unpack_from("<Q", content)
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__")
    return dict(metadata or {})


def _to_array(name: str, entry: Mapping[str, object], path: Path) -> np.ndarray:
    # Not safetensors.numpy: numpy has no bfloat16, and that module then needs another library.
    stored, data = str(entry["dtype"]), entry["data"]
    if stored == "BF16":  # the upper half of a float32
        flat = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)  # type: ignore[call-overload]
    elif stored in _NUMPY_DTYPES:
        flat = np.frombuffer(data, _NUMPY_DTYPES[stored])  # type: ignore[call-overload]
    elif stored == "I64" and entry["shape"] == []:  # a wrapper's counter, such as n_averaged
        flat = np.frombuffer(data, "<i8")  # type: ignore[call-overload]
    else:
        raise BadInputError(
            f"The weight {name} has the wrong dtype.", expected="F32, F16, BF16 or F64", got=stored, where=path
        )
    return flat.reshape(entry["shape"])
