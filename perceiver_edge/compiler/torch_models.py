"""Perceivers of perceiver-pytorch: one that lives in the user's program, and one made to check a file's reading."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from perceiver_edge.checkpoints import Checkpoint, fit_weights
from perceiver_edge.checkpoints.families import refuse_foreign
from perceiver_edge.checkpoints.infer import complete_config
from perceiver_edge.checkpoints.names import bands_of, canonical_names
from perceiver_edge.checkpoints.torch_files import to_numpy
from perceiver_edge.compiler.perceiver_io_models import has_perceiver_io, read_perceiver_io_module
from perceiver_edge.compiler.transformers_models import (
    is_transformers_model,
    read_transformers_model,
    require_no_choice,
)
from perceiver_edge.config import CONFIG_KEYS, PerceiverConfig, check_config_keys, parse_config
from perceiver_edge.errors import BadInputError, option
from perceiver_edge.proof.metrics import FLOAT_TOLERANCE
from perceiver_edge.proof.reference import HALF_TOLERANCE, Feeds, Reference

_WHAT_A_PERCEIVER_HAS = ("latents", "layers", "to_logits", "num_freq_bands", "max_freq", "input_axis")

_KEPT = ("num_freq_bands", "max_freq", "input_axis", "freq_base", "fourier_encode_data", "inverted_cross_attn")
"""Arguments of the constructor that some version keeps as attributes."""

_WRAPPED_AS = ("_orig_mod", "module")
"""Where `torch.compile`, and DataParallel and AveragedModel, keep a model, which computes the same without them."""

_LATER = {"inverted_cross_attn": False, "attn_residual": False, "attn_residual_rank": 64}
"""Arguments since 0.9, and their defaults, which are not passed to older versions."""


def is_torch_module(model: object) -> bool:
    """Whether it is a ``torch.nn.Module``; PyTorch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def read_torch_module(model: Any, chosen: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[Checkpoint, Reference]:
    """The Perceiver in a module, such as one wrapped for training; and the whole module as the reference.

    Args:
        chosen: see `transformers_models.read_transformers_model`.
        config: see `perceiver_io_models.read_perceiver_io_module`; no other module needs one.

    The module answers in evaluation mode and is left in the mode that it was in.

    Raises:
        BadInputError: none or several in it, one of another family, or with an option that is not supported.
    """
    where = type(model).__name__
    if has_perceiver_io(model):
        require_no_choice(chosen)
        return read_perceiver_io_module(model, config)
    if config:
        raise BadInputError(
            f"A module tells what it was made with, so {option('config')} is not taken.",
            expected="a folder, a file of weights, or a PerceiverIO", got=where,
        )  # fmt: skip
    if transformers_models := {name: found for name, found in model.named_modules() if is_transformers_model(found)}:
        found = _unwrapped(model)
        if not is_transformers_model(found):
            raise BadInputError(
                "The Perceiver of transformers is a part of this module.", expected="the model itself", got=where,
                fix=f"pass the part: model.{next(iter(transformers_models))}; what is around it is not compiled",
            )  # fmt: skip
        return read_transformers_model(found, chosen)
    require_no_choice(chosen)
    perceivers = list({id(found): found for found in _perceivers(model)}.values())
    if len(perceivers) != 1:
        refuse_foreign(list(model.state_dict()), where=where)
        raise BadInputError(
            "There is no Perceiver in this module." if not perceivers else "There are several Perceivers in it.",
            expected="a module with one Perceiver, PerceiverIO or PerceiverLM of perceiver_pytorch in it", got=where,
        )  # fmt: skip
    (perceiver,) = perceivers
    tensors = {name: to_numpy(name, tensor, where=where) for name, tensor in perceiver.state_dict().items()}
    refuse_foreign(tensors, where=where)
    arguments = _arguments(perceiver)
    check_config_keys(arguments, where=where)
    names = canonical_names(tensors, where=where)
    values = complete_config(
        {name: value for name, value in arguments.items() if name in CONFIG_KEYS},
        {canonical: tensors[name] for name, canonical in names.items()},
        # Versions with logarithmic bands keep freq_base, but for 0.7.2 and 0.7.3: there the comparison tells.
        bands="logarithmic" if bands_of(tensors) == "logarithmic" else "linear",
        is_call=False, input_shape=(1,) * perceiver.input_axis, where=where,
    )  # fmt: skip
    parsed, _ = parse_config(values, where=where)
    assert isinstance(parsed, PerceiverConfig), "the arguments are of this family"
    checkpoint = Checkpoint(config=parsed, input_spec=None, weights=fit_weights(parsed, tensors, where=where))
    is_half = perceiver.latents.dtype.itemsize < 4
    return checkpoint, Reference(
        answer=lambda feeds: _answer(model, perceiver, feeds), description=f"The module that was passed ({where})",
        tolerance=HALF_TOLERANCE if is_half else FLOAT_TOLERANCE,
    )  # fmt: skip


def package_reference(checkpoint: Checkpoint) -> Reference | None:
    """perceiver-pytorch's own model with these weights; None where it is not here, or is of another version."""
    is_theirs = isinstance(checkpoint.config, PerceiverConfig) and checkpoint.config.freq_base is None
    if not is_theirs or not all(map(find_spec, ("torch", "perceiver_pytorch"))):
        return None
    try:
        release = version("perceiver-pytorch")
    except PackageNotFoundError:
        return None
    module = _package_module(checkpoint)
    if module is None:
        return None
    return Reference(
        answer=lambda feeds: _answer(module, module, feeds),
        description=f"perceiver-pytorch {release} with this configuration",
    )


def _package_module(checkpoint: Checkpoint) -> Any:
    try:
        import torch
        from perceiver_pytorch import Perceiver

        arguments = {
            name: value
            for name, value in checkpoint.config.to_dict().items()
            if name != "freq_base" and (name not in _LATER or value != _LATER[name])
        }
        module = Perceiver(**arguments)
    except (ImportError, TypeError, AttributeError):  # a version that does not go with this PyTorch or these arguments
        return None
    state = {name: torch.from_numpy(np.ascontiguousarray(weight)) for name, weight in checkpoint.weights.items()}
    loaded = module.load_state_dict(state, strict=False)
    tied = (
        {name for name in loaded.missing_keys if name.startswith(("layers.", "attn_residuals."))}
        if arguments["weight_tie_layers"]
        else set()
    )
    return None if loaded.unexpected_keys or set(loaded.missing_keys) - tied else module


def _unwrapped(model: Any) -> Any:
    """The model in torch's own wrappers, however many; a user's may compute more."""
    children = dict(model.named_children())
    inner = next((children[name] for name in _WRAPPED_AS if name in children), None)
    is_wrapper = type(model).__module__.partition(".")[0] == "torch"
    return model if inner is None or not is_wrapper else _unwrapped(inner)


def _perceivers(model: Any) -> Iterator[Any]:
    return (found for found in model.modules() if all(hasattr(found, name) for name in _WHAT_A_PERCEIVER_HAS))


def _arguments(perceiver: Any) -> dict[str, Any]:
    """What the constructor was given, as far as attributes keep it; shapes tell the rest."""
    arguments = {name: getattr(perceiver, name) for name in _KEPT if hasattr(perceiver, name)}
    first = next(iter(perceiver.layers))
    cross = getattr(first, "cross_attn", None) or first[0]
    arguments["cross_heads"] = cross.fn.heads
    selves = getattr(first, "self_attns", None)
    selves = first[2] if selves is None else selves
    return arguments | ({"latent_heads": selves[0][0].fn.heads} if len(selves) else {})


def _answer(model: Any, perceiver: Any, feeds: Feeds) -> np.ndarray:
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            like = perceiver.latents
            mask = {"mask": torch.from_numpy(feeds["mask"]).to(like.device)} if "mask" in feeds else {}
            output = model(torch.from_numpy(np.array(feeds["input"])).to(like.device, like.dtype), **mask)
            return output.float().cpu().numpy()
    finally:
        model.train(was_training)
