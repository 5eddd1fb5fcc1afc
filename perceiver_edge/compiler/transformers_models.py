"""Perceivers of transformers: one that lives in the user's program, and one made to check a folder's reading."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from perceiver_edge.checkpoints import Checkpoint
from perceiver_edge.checkpoints.huggingface import huggingface_checkpoint
from perceiver_edge.checkpoints.torch_files import to_numpy
from perceiver_edge.config.huggingface import (
    ARCHITECTURES,
    AUDIO,
    FLOW,
    FRAMES,
    IMAGE,
    LABEL,
    LEARNED,
    MODEL_TYPE,
    MULTIMODAL,
    PATCH_CHANNELS,
    HuggingFaceConfig,
)
from perceiver_edge.errors import BadInputError, option
from perceiver_edge.proof.metrics import FLOAT_TOLERANCE
from perceiver_edge.proof.reference import HALF_TOLERANCE, Feeds, Reference


def is_transformers_model(model: object) -> bool:
    """Whether a module's ``config`` says that it is a Perceiver of transformers."""
    return getattr(getattr(model, "config", None), "model_type", None) == MODEL_TYPE


def require_no_choice(chosen: Mapping[str, Any]) -> None:
    """Raises BadInputError where outputs are chosen of a model that has no others."""
    if chosen:
        raise BadInputError(
            f"{' and '.join(map(option, chosen))} are for Perceivers of Hugging Face transformers.",
            expected="a model with several outputs", got="a model whose whole output is computed",
        )  # fmt: skip


def read_transformers_model(model: Any, chosen: Mapping[str, Any]) -> tuple[Checkpoint, Reference]:
    """The weights of a model of transformers, and the model as the reference; it is left in the mode that it was in.

    Args:
        chosen: keys of `HuggingFaceConfig` that are ours: which outputs are computed.

    Raises:
        BadInputError: as for a folder of the same model.
    """
    where = type(model).__name__
    tensors = {name: to_numpy(name, tensor, where=where) for name, tensor in model.state_dict().items()}
    # A subclass may compute something else: the comparison with its weights tells.
    named = [base.__name__ for base in type(model).__mro__ if base.__name__ in ARCHITECTURES]
    values = {**model.config.to_dict(), "architectures": named or [where], **chosen}
    checkpoint = huggingface_checkpoint(values, tensors, input_shape=None, folder=None, where=where)
    config = checkpoint.config
    assert isinstance(config, HuggingFaceConfig)
    is_half = next(iter(model.parameters())).dtype.itemsize < 4
    return checkpoint, Reference(
        answer=lambda feeds: _answer(model, config, feeds), description=f"The model that was passed ({where})",
        tolerance=HALF_TOLERANCE if is_half else FLOAT_TOLERANCE,
    )  # fmt: skip


def transformers_reference(checkpoint: Checkpoint) -> Reference | None:
    """transformers' own model with these weights; None where it is not installed."""
    config = checkpoint.config
    assert isinstance(config, HuggingFaceConfig)
    if not all(map(find_spec, ("torch", "transformers"))):
        return None
    try:
        release = version("transformers")
    except PackageNotFoundError:
        return None
    module = _module(checkpoint, config)
    return Reference(
        answer=lambda feeds: _answer(module, config, feeds),
        description=f"transformers {release}, {config.architecture}",
    )  # fmt: skip


def _module(checkpoint: Checkpoint, config: HuggingFaceConfig) -> Any:
    import torch
    import transformers

    values = config.to_dict()
    for unasked in ("outputs", "positions", "problem_type"):  # two keys of ours, and one of training
        del values[unasked]
    (architecture,), labels = values.pop("architectures"), values.pop("num_labels")
    del values["model_type"]
    id2label = {index: f"LABEL_{index}" for index in range(labels)}
    module = getattr(transformers, architecture)(transformers.PerceiverConfig(**values, id2label=id2label))
    state = {name: torch.from_numpy(np.ascontiguousarray(weight)) for name, weight in checkpoint.weights.items()}
    module.load_state_dict(state, strict=False)
    return module


def _answer(model: Any, config: HuggingFaceConfig, feeds: Feeds) -> np.ndarray:
    """The logits, or the flow, of one sample as ours are fed: channels last, and a mask of booleans."""
    import torch

    parameter = next(iter(model.parameters()))
    options: dict[str, Any] = {}
    given = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in feeds.items()}
    inputs: Any = given["input"]
    if config.vocabulary:
        inputs = inputs.long().to(parameter.device)
        if "mask" in given:
            options["attention_mask"] = given["mask"].long().to(parameter.device)
    elif config.architecture == MULTIMODAL:
        none = torch.zeros(0, dtype=torch.long, device=parameter.device)
        options["subsampled_output_points"] = {IMAGE: none, AUDIO: none, LABEL: None}
        label = torch.zeros(len(inputs), config.num_labels)
        named = {IMAGE: inputs.permute(0, 1, 4, 2, 3), AUDIO: given[AUDIO], LABEL: label}
        inputs = {name: tensor.to(parameter.device, parameter.dtype) for name, tensor in named.items()}
    else:
        inputs = inputs.permute(0, 3, 1, 2).to(parameter.device, parameter.dtype)
        height, width = inputs.shape[2:]
        if config.architecture == FLOW:
            inputs = inputs.reshape(-1, FRAMES, PATCH_CHANNELS, height, width)
        if config.architecture == LEARNED and (height, width) != (config.image_size, config.image_size):
            options["interpolate_pos_encoding"] = True
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(inputs=inputs, **options).logits
    finally:
        model.train(was_training)
    if config.architecture == MULTIMODAL:
        logits = logits[LABEL]
    if config.positions is not None:
        logits = logits[:, list(config.positions)]
    answer: np.ndarray = logits.float().cpu().numpy()
    return answer
