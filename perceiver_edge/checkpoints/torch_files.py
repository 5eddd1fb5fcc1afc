"""Files that ``torch.save`` wrote, read by PyTorch itself with ``weights_only=True``: no code of the file is run.

PyTorch's own restricted unpickler is kept up by people who answer for it; a second one here would be another door to
watch. Where PyTorch is missing, three lines turn the file into one that needs none.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_edge.errors import BadInputError

SAVE_AS_SAFETENSORS = """where PyTorch and safetensors are installed (pip install safetensors), run
import torch, safetensors.torch
state = {load}
safetensors.torch.save_file({{n: t.clone().contiguous() for n, t in state.items()}}, "{stem}.safetensors")
(of a training checkpoint first take the weights out: state = state["model"], or what their name is there)
and pass --model {stem}.safetensors"""

_HYPER_PARAMETERS = ("hyper_parameters", "hparams", "config", "model_config", "model_args", "model_kwargs")
"""Where training scripts keep the arguments of the model: Lightning's name first."""

_DEEPEST = 3
"""Of the mappings in a training checkpoint that are looked into."""


def read_torch_file(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors of the file's one state dict by name, and the model's arguments where the file has them.

    float16 and bfloat16 become float32.

    Raises:
        BadInputError: PyTorch is not installed, or the file is damaged, holds more than weights, or several models.
    """
    try:
        import torch
    except ImportError as error:
        raise BadInputError(
            "PyTorch is needed to read this file, and is not installed here.",
            expected="PyTorch, or a safetensors file", where=path,
            fix="pip install torch, or " + _three_lines(path, f'torch.load("{path.name}", weights_only=True)'),
        ) from error  # fmt: skip
    if _is_torchscript(path):
        raise BadInputError(
            "The file is a TorchScript program, not a state dict.", expected="what torch.save(model.state_dict(), …) "
            "writes", where=path, fix=_three_lines(path, f'torch.jit.load("{path.name}").state_dict()'),
        )  # fmt: skip
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInputError(
            "The file holds more than weights, so that reading it could run any code; it is not read.",
            expected="a state dict", got=_reason(error), where=path,
            fix="if you trust it, "
            + _three_lines(path, f'torch.load("{path.name}", weights_only=False).state_dict()')
            + "\n(without .state_dict() if it holds a mapping; take the state dict out of that)",
        ) from error  # fmt: skip
    except OSError as error:
        raise BadInputError("A file of the model cannot be read.", got=error.strerror, where=path) from error
    except Exception as error:  # PyTorch's unpickler raises a dozen types over damage
        raise BadInputError(
            "The weights are damaged.", expected="a whole file of torch.save", got=_reason(error), where=path
        ) from error
    state = _state_dict(content, path)
    return {name: to_numpy(name, tensor, where=path) for name, tensor in state.items()}, _arguments(content)


def to_numpy(name: str, tensor: Any, *, where: object = None) -> np.ndarray:
    """A torch tensor as an array of its own; half precision becomes float32, which holds each of its values.

    Raises:
        BadInputError: a tensor that numpy has no form for, such as a quantised one; or none, as its parts may be.
    """
    try:
        tensor = tensor.detach()
        if tensor.is_floating_point() and tensor.element_size() < 4:
            tensor = tensor.float()
        return np.array(tensor.cpu().numpy())
    except (TypeError, RuntimeError, AttributeError) as error:
        raise BadInputError(
            f"The weight {name} is not usable.", expected="plain floating point",
            got=getattr(tensor, "dtype", type(tensor).__name__), where=where,
            fix="save the model before it is quantised, pruned or sharded",
        ) from error  # fmt: skip


def _three_lines(path: Path, load: str) -> str:
    return SAVE_AS_SAFETENSORS.format(load=load, stem=path.stem)


def names_in_archive(path: Path) -> list[str]:
    """The files in a zip archive; none where it is no whole one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):  # a damaged directory gives any of these
        return []


def _is_torchscript(path: Path) -> bool:
    return any(name.endswith("/constants.pkl") for name in names_in_archive(path))


def _state_dict(content: object, path: Path) -> dict[str, Any]:
    found = dict(_mappings(content))
    perceivers = {trail: tensors for trail, tensors in found.items() if any(_is_latents(name) for name in tensors)}
    if len(perceivers) > 1:
        first = next(iter(perceivers))
        raise BadInputError(
            "There are several models in the file.", expected="one state dict", got=", ".join(perceivers), where=path,
            fix="choose one: " + _three_lines(path, f'torch.load("{path.name}", weights_only=True){first}'),
        )  # fmt: skip
    candidates = perceivers or found
    if not candidates:
        raise BadInputError(
            "There are no weights in the file.", expected="a state dict: names and tensors",
            got=type(content).__name__, where=path,
        )  # fmt: skip
    return max(candidates.values(), key=len)  # of what is no Perceiver the largest, so that its family can be named


def _is_latents(name: str) -> bool:
    return name == "latents" or name.endswith(".latents")


def _mappings(content: object, trail: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """(how to get there, the tensors there by name) of every mapping in ``content`` that holds tensors."""
    import torch

    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    if tensors := {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}:
        yield trail, tensors
    for key, value in content.items():
        yield from _mappings(value, f"{trail}[{key!r}]", depth + 1)


def _arguments(content: object) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        return {}
    mappings = [content[key] for key in _HYPER_PARAMETERS if isinstance(content.get(key), Mapping)]
    return {str(name): value for mapping in reversed(mappings) for name, value in mapping.items()}


def _reason(error: Exception) -> str:
    """What torch calls the cause, without its advice to read the file all the same."""
    text = str(error).strip() or repr(error)
    cause = text.partition("WeightsUnpickler error:")[2] or text
    return cause.strip().splitlines()[0][:200]
