"""A checkpoint in a folder: ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from perceiver_edge.checkpoints.checkpoint import Checkpoint
from perceiver_edge.checkpoints.validation import fit_weights
from perceiver_edge.config import CLASS_NAMES, InputSpec, PerceiverConfig, parse_class_names, parse_config
from perceiver_edge.errors import BadInputError, MissingExtraError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_NUMPY_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def load_checkpoint(folder: str | os.PathLike[str]) -> Checkpoint:
    """Read a folder written by `save_checkpoint`, or by hand around a perceiver-pytorch state dict.

    float16, bfloat16 and float64 weights are cast to float32.

    Raises:
        BadInputError: the folder or a file is missing or damaged, or the weights do not fit the configuration.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(
            "There is no such model folder.", expected=f"a folder with {CONFIG_FILE} and {WEIGHTS_FILE}", got=folder
        )
    config, input_spec, class_names = _read_config(folder / CONFIG_FILE)
    weights_path = folder / WEIGHTS_FILE
    weights = fit_weights(config, _read_safetensors(weights_path), where=weights_path)
    return Checkpoint(config=config, input_spec=input_spec, weights=weights, class_names=class_names)


def save_checkpoint(checkpoint: Checkpoint, folder: str | os.PathLike[str]) -> None:
    """Write ``config.json`` and ``model.safetensors``. A crash leaves each file as it was or complete, never half.

    Raises:
        BadInputError: the folder cannot be written.
    """
    folder = Path(folder)
    values = checkpoint.config.to_dict()
    if checkpoint.input_spec is not None:
        values |= checkpoint.input_spec.to_dict()
    if checkpoint.class_names is not None:
        values[CLASS_NAMES] = list(checkpoint.class_names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_atomically(folder / WEIGHTS_FILE, _to_safetensors(checkpoint.weights))
        _write_atomically(folder / CONFIG_FILE, (json.dumps(values, indent=2) + "\n").encode())
    except OSError as error:
        raise BadInputError("The checkpoint cannot be written.", got=error, where=folder) from error


def _read_config(path: Path) -> tuple[PerceiverConfig, InputSpec | None, tuple[str, ...] | None]:
    try:
        values = json.loads(_read_bytes(path))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested too deeply
        raise BadInputError("The configuration is not readable.", expected="JSON", got=error, where=path) from error
    if not isinstance(values, dict):
        raise BadInputError(
            "The configuration is not a mapping.", expected="a JSON object", got=type(values).__name__, where=path
        )
    config, input_spec = parse_config(values, where=path)
    return config, input_spec, parse_class_names(values, config, where=path)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors import SafetensorError, deserialize
    except ImportError as error:
        raise MissingExtraError("safetensors", "convert") from error
    content = _read_bytes(path)
    try:
        entries = deserialize(content)
    except SafetensorError as error:
        raise BadInputError(
            "The weights are damaged.", expected="a complete safetensors file", got=error, where=path
        ) from error
    tensors = {name: _to_array(name, entry, path) for name, entry in sorted(entries, key=lambda e: e[0])}
    # safetensors.torch.save_model stores shared tensors once and notes their other names: a tied depth can be checked.
    aliases = {name: kept for name, kept in _metadata(content).items() if kept in tensors and name not in tensors}
    return tensors | {name: tensors[kept] for name, kept in aliases.items()}


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
    else:
        raise BadInputError(
            f"The weight {name} has the wrong dtype.", expected="F32, F16, BF16 or F64", got=stored, where=path
        )
    return flat.reshape(entry["shape"])


def _to_safetensors(weights: Mapping[str, np.ndarray]) -> bytes:
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise MissingExtraError("safetensors", "convert") from error
    return save({name: np.ascontiguousarray(weight) for name, weight in weights.items()})


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInputError("A file of the model cannot be read.", got=error.strerror, where=path) from error


def _write_atomically(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp makes private files; give it the permissions an ordinary new file would have.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
