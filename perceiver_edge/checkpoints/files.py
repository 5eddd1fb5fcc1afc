"""A checkpoint on disk: ``config.json`` and ``model.safetensors`` in a folder, or a file of weights alone."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_edge.checkpoints.checkpoint import Checkpoint
from perceiver_edge.checkpoints.families import refuse_foreign, require_perceiver
from perceiver_edge.checkpoints.huggingface import load_huggingface
from perceiver_edge.checkpoints.infer import complete_config
from perceiver_edge.checkpoints.krasserm import load_krasserm
from perceiver_edge.checkpoints.names import bands_of, canonical_names, own_tensors
from perceiver_edge.checkpoints.perceiver_io import fit_perceiver_io
from perceiver_edge.checkpoints.tensor_files import read_tensors
from perceiver_edge.checkpoints.validation import fit_weights
from perceiver_edge.config import (
    CLASS_NAMES,
    CONFIG_KEYS,
    MADE_BY,
    PerceiverConfig,
    check_config_keys,
    parse_class_names,
    parse_config,
)
from perceiver_edge.config.huggingface import is_huggingface
from perceiver_edge.config.krasserm import is_krasserm
from perceiver_edge.config.perceiver_io import PerceiverIOConfig, is_perceiver_io
from perceiver_edge.errors import BadInputError, importing, option
from perceiver_edge.files.reading import MOST_TEXT_BYTES, read_file

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_OURSELVES = "perceiver_edge"
_WEIGHT_SUFFIXES = {".safetensors", ".pt", ".pth", ".ckpt", ".bin"}


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    config: Mapping[str, Any] | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Checkpoint:
    """Read a folder with ``config.json`` and weights, ours, perceiver-pytorch's or transformers', or weights alone.

    Weights are a safetensors file or a state dict of PyTorch; a ``config.json`` beside a file is read too. What the
    configuration leaves out is taken from the weights' shapes, as far as they tell. float16, bfloat16 and float64 are
    cast to float32.

    Args:
        config: of a ``config.json``'s keys those that are not in the file, or shall have another value.
        input_shape: sizes of the input axes, where they are known from elsewhere.

    Raises:
        BadInputError: a file is missing, damaged or of a model of another kind; the weights do not fit the
            configuration, or do not tell all that it leaves out (the message then asks for each value by name).
    """
    path = Path(path)
    if not path.exists():
        raise BadInputError(
            "There is no such model.", expected=f"a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, or a file of weights",
            got=path,
        )  # fmt: skip
    config_path = (path if path.is_dir() else path.parent) / CONFIG_FILE
    has_config = config_path.exists()
    values = _read_config(config_path) if has_config else {}
    if is_huggingface(values):
        return load_huggingface(path, {**values, **(config or {})}, input_shape=input_shape)
    if is_krasserm(values):
        return load_krasserm(path, {**values, **(config or {})}, input_shape=input_shape, where=config_path)
    if is_perceiver_io({**values, **(config or {})}):
        return _load_perceiver_io(path, {**values, **(config or {})}, where=config_path if has_config else "config")
    weights_path = _weights_in(path) if path.is_dir() else path
    # What is known about a value's kind is checked before minutes of reading.
    check_config_keys({**values, **(config or {})}, where=config_path if has_config else "config")
    file = read_tensors(weights_path)
    known = {key: value for key, value in file.arguments.items() if key in CONFIG_KEYS}
    values = {**known, **values, **(config or {})}
    refuse_foreign(file.tensors, where=weights_path)
    tensors = own_tensors(file.tensors, where=weights_path)
    names = canonical_names(tensors, where=weights_path)
    require_perceiver(names.values(), where=weights_path)
    values = complete_config(
        values, {canonical: tensors[name] for name, canonical in names.items()}, bands=bands_of(tensors),
        is_call=has_config, input_shape=input_shape, where=weights_path,
    )  # fmt: skip
    where = config_path if has_config else weights_path
    parsed, input_spec = parse_config(values, where=where)
    class_names = parse_class_names(values, parsed, where=where)
    assert isinstance(parsed, PerceiverConfig), "other families were read above"
    weights = fit_weights(parsed, tensors, where=weights_path)
    is_own = values.get(MADE_BY) == _OURSELVES
    return Checkpoint(
        config=parsed, input_spec=input_spec, weights=weights, class_names=class_names, is_own=is_own
    )  # fmt: skip


def _load_perceiver_io(path: Path, values: Mapping[str, Any], *, where: object) -> Checkpoint:
    weights_path = _weights_in(path) if path.is_dir() else path
    parsed, input_spec = parse_config(values, where=where)
    assert isinstance(parsed, PerceiverIOConfig)
    weights = fit_perceiver_io(parsed, read_tensors(weights_path).tensors, where=weights_path)
    return Checkpoint(config=parsed, input_spec=input_spec, weights=weights)


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
    if checkpoint.is_own:
        values[MADE_BY] = _OURSELVES
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_atomically(folder / WEIGHTS_FILE, _to_safetensors(checkpoint.weights))
        _write_atomically(folder / CONFIG_FILE, (json.dumps(values, indent=2) + "\n").encode())
    except OSError as error:
        raise BadInputError("The checkpoint cannot be written.", got=error, where=folder) from error


def _weights_in(folder: Path) -> Path:
    """The one file of weights in a folder."""
    if (folder / WEIGHTS_FILE).exists():
        return folder / WEIGHTS_FILE
    found = sorted(file for file in folder.iterdir() if file.suffix in _WEIGHT_SUFFIXES and file.is_file())
    if len(found) > 1:
        raise BadInputError(
            "The folder has several files of weights.", expected=f"{WEIGHTS_FILE}, or one other",
            got=", ".join(file.name for file in found), where=folder, fix=f"pass one of them: --model {found[0]}",
        )  # fmt: skip
    if not found and not (folder / CONFIG_FILE).exists():
        raise BadInputError(
            "There is no model in the folder.", expected=f"{CONFIG_FILE} and {WEIGHTS_FILE}",
            got=", ".join(sorted(file.name for file in folder.iterdir())[:5]) or "an empty folder", where=folder,
            fix=f"if these are samples, pass them with {option('samples')}",
        )  # fmt: skip
    return found[0] if found else folder / WEIGHTS_FILE


def _read_config(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_file(path, most_bytes=MOST_TEXT_BYTES, what="The configuration"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested too deeply
        raise BadInputError("The configuration is not readable.", expected="JSON", got=error, where=path) from error
    if not isinstance(values, dict):
        raise BadInputError(
            "The configuration is not a mapping.", expected="a JSON object", got=type(values).__name__, where=path
        )
    return values


def _to_safetensors(weights: Mapping[str, np.ndarray]) -> bytes:
    with importing("safetensors", "convert"):
        from safetensors.numpy import save
    return save({name: np.ascontiguousarray(weight) for name, weight in weights.items()})


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
