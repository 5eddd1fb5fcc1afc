"""A folder that transformers' ``save_pretrained`` wrote, or that was fetched from the Hub, as a `Checkpoint`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_edge.checkpoints.checkpoint import Checkpoint
from perceiver_edge.checkpoints.huggingface_layout import IGNORED, RENAMED, huggingface_shapes
from perceiver_edge.checkpoints.tensor_files import read_tensors
from perceiver_edge.checkpoints.validation import fit_shapes
from perceiver_edge.config import InputSpec
from perceiver_edge.config.huggingface import (
    IMAGES,
    parse_huggingface_config,
)
from perceiver_edge.config.labels import names_in_id2label
from perceiver_edge.errors import BadInputError
from perceiver_edge.files.preprocessing import KEPT
from perceiver_edge.files.reading import MOST_TEXT_BYTES, read_file

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_ADAPTER = "merge the adapter into its model, and save that: model.merge_and_unload().save_pretrained(folder)"
_OTHER_FRAMEWORK = "load it with a transformers of version 4 (from_tf=True, or from_flax=True) and save it again"
_OTHER_WEIGHTS = {
    "adapter_model.safetensors": _ADAPTER, "adapter_model.bin": _ADAPTER, "tf_model.h5": _OTHER_FRAMEWORK,
    "flax_model.msgpack": _OTHER_FRAMEWORK,
}  # fmt: skip
"""Of what lies in a folder without weights of PyTorch: what helps."""

PROCESSOR_FILE = "preprocessor_config.json"
_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_BICUBIC = 3
"""Of Pillow's resampling filters."""


def load_huggingface(path: Path, values: Mapping[str, Any], *, input_shape: tuple[int, ...] | None) -> Checkpoint:
    """Read weights and the processor's settings.

    Args:
        path: the folder, or the one of its files of weights that is meant.
        values: of the folder's ``config.json``.
        input_shape: sizes of the input axes, where another is wanted than the model's own.

    Raises:
        BadInputError: a file is missing or damaged, a value is not usable, or the weights do not fit.
    """
    folder = path if path.is_dir() else path.parent
    weights_path, tensors = read_weights(path)
    return huggingface_checkpoint(values, tensors, input_shape=input_shape, folder=folder, where=weights_path)


def huggingface_checkpoint(
    values: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    *,
    input_shape: tuple[int, ...] | None,
    folder: Path | None,
    where: object,
) -> Checkpoint:
    """As `load_huggingface`, of tensors under transformers' names. ``folder``: may have the processor's settings."""
    config = parse_huggingface_config(values, where=where if folder is None else folder / "config.json")
    shape = input_shape or config.default_input_shape
    spec = folder_input_spec(folder, shape, is_pictures=config.architecture in IMAGES)
    tensors = {RENAMED.get(name, name): tensor for name, tensor in tensors.items() if name not in IGNORED}
    weights = fit_shapes(
        huggingface_shapes(config), tensors, where=where, fix="check that config.json and the weights are of one model"
    )
    class_names = names_in_id2label(values, config.num_labels) if config.is_classifier else None
    return Checkpoint(config=config, input_spec=spec, weights=weights, class_names=class_names)


def folder_input_spec(folder: Path | None, shape: tuple[int, ...], *, is_pictures: bool) -> InputSpec:
    """What a model is fed: for pictures, what the processor's settings in its folder say, or else its defaults.

    Raises:
        BadInputError: the processor does to pictures what is not supported.
    """
    if not is_pictures:
        return InputSpec(shape=shape)
    path = Path() if folder is None else folder / PROCESSOR_FILE
    values = _read_json(path) if path.is_file() else {}
    is_normalised = values.get("do_normalize", True)
    return InputSpec(
        shape=shape,
        image_mean=_numbers(values, "image_mean", path) if is_normalised else (0.0,),
        image_std=_numbers(values, "image_std", path) if is_normalised else (1.0,),
        resize=_resize(values, path),
    )


def _resize(values: Mapping[str, Any], path: Path) -> str | None:
    """The processor's crop and resize; None where it does neither, and pictures have the model's size already."""
    steps = {"do_rescale": True, "resample": _BICUBIC, "do_center_crop": True, "do_resize": True}
    others = {key: values[key] for key, usual in steps.items() if values.get(key, usual) != usual}
    if others == {"do_center_crop": False, "do_resize": False}:
        return None
    if others:
        raise BadInputError(
            "What the processor does to pictures is not supported.", expected=f"{steps}", got=f"{others}", where=path
        )
    _require_crop(values, path)
    return "crop"


def _numbers(values: Mapping[str, Any], key: str, path: Path) -> tuple[float, ...]:
    given = values.get(key, _IMAGENET[key])
    if type(given) in (int, float):
        given = [given]
    if not isinstance(given, list | tuple) or not all(type(value) in (int, float) for value in given):
        raise BadInputError(f"The key {key!r} is not usable.", expected="a list of numbers", got=given, where=path)
    return tuple(map(float, given))


def _require_crop(values: Mapping[str, Any], path: Path) -> None:
    """The share of the shorter side that is kept is the size over the size of the crop, says the processor."""
    sizes = []
    for key, default in (("size", 224), ("crop_size", 256)):
        given = values.get(key, default)
        size = given.get("height") if isinstance(given, Mapping) else given
        if not isinstance(size, int) or size < 1:
            raise BadInputError(f"The key {key!r} is not usable.", expected="a size in pixels", got=given, where=path)
        sizes.append(size)
    if sizes[0] != sizes[1] * KEPT:
        raise BadInputError(
            "The processor's crop is not supported.", got=sizes, where=path,
            expected=f"a size of {KEPT} of the crop_size, such as 224 and 256",
        )  # fmt: skip


def read_weights(path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """The file, or the index of several, and the tensors by name. ``path``: a folder, or the file that is meant.

    Raises:
        BadInputError: there are none, or they are damaged.
    """
    if not path.is_dir():
        return path, read_tensors(path).tensors
    for name in _WEIGHTS:
        if (path / name).exists():
            return path / name, read_tensors(path / name).tensors
        index = path / f"{name}.index.json"
        if index.exists():
            return index, _read_shards(index)
    found = sorted(file.name for file in path.iterdir())
    help_ = next((fix for name, fix in _OTHER_WEIGHTS.items() if name in found), None)
    raise BadInputError(
        "There are no weights in the folder.", expected=" or ".join(_WEIGHTS), where=path, got=", ".join(found[:5]),
        fix=help_ or "fetch them too: hf download, or git lfs pull in a clone",
    )  # fmt: skip


def _read_shards(index: Path) -> dict[str, np.ndarray]:
    places = _read_json(index).get("weight_map")
    if not isinstance(places, Mapping) or not all(isinstance(file, str) for file in places.values()):
        raise BadInputError("The index of the weights is not usable.", expected="a weight_map of files", where=index)
    tensors: dict[str, np.ndarray] = {}
    for file in sorted(set(places.values())):
        if Path(file).name != file:  # nothing outside of the folder is opened
            raise BadInputError(
                "The index of the weights names a file elsewhere.", expected="names of files in the folder",
                got=repr(file), where=index,
            )  # fmt: skip
        tensors |= read_tensors(index.parent / file).tensors
    if missing := sorted(set(places) - set(tensors)):
        raise BadInputError(
            "The files lack weights that their index names.", expected=f"{len(places)} weights",
            got=f"no {', '.join(missing[:4])}", where=index,
        )  # fmt: skip
    return tensors


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_file(path, most_bytes=MOST_TEXT_BYTES, what="A file of the model"))
    except (ValueError, RecursionError) as error:
        raise BadInputError("A file of the model is not readable.", expected="JSON", got=error, where=path) from error
    if not isinstance(values, dict):
        raise BadInputError("A file of the model is not usable.", expected="a JSON object", where=path)
    return values
