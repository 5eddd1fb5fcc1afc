"""Perceivers of transformers: one that lives in the user's program, and one made to check a folder's reading."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from perceiver_edge.checkpoints import Checkpoint
from perceiver_edge.checkpoints.huggingface import huggingface_checkpoint
from perceiver_edge.checkpoints.torch_files import to_numpy
from perceiver_edge.config.huggingface import FLOW, FRAMES, LEARNED, MODEL_TYPE, PATCH_CHANNELS, HuggingFaceConfig
from perceiver_edge.proof.metrics import FLOAT_TOLERANCE
from perceiver_edge.proof.reference import HALF_TOLERANCE, Feeds, Reference


def is_transformers_model(model: object) -> bool:
    """Whether a module's ``config`` says that it is a Perceiver of transformers."""
    return getattr(getattr(model, "config", None), "model_type", None) == MODEL_TYPE


def read_transformers_model(model: Any) -> tuple[Checkpoint, Reference]:
    """The weights of a model of transformers, and the model as the reference; it is left in the mode that it was in.

    Raises:
        BadInputError: as for a folder of the same model.
    """
    where = type(model).__name__
    tensors = {name: to_numpy(name, tensor, where=where) for name, tensor in model.state_dict().items()}
    values = {**model.config.to_dict(), "architectures": [where]}
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

    inputs = torch.from_numpy(np.ascontiguousarray(feeds["input"]))
    parameter = next(iter(model.parameters()))
    options: dict[str, Any] = {}
    if config.vocabulary:
        inputs = inputs.long()
        if "mask" in feeds:
            options["attention_mask"] = torch.from_numpy(feeds["mask"]).long().to(parameter.device)
    else:
        inputs = inputs.permute(0, 3, 1, 2).to(parameter.dtype)
        height, width = inputs.shape[2:]
        if config.architecture == FLOW:
            inputs = inputs.reshape(-1, FRAMES, PATCH_CHANNELS, height, width)
        if config.architecture == LEARNED and (height, width) != (config.image_size, config.image_size):
            options["interpolate_pos_encoding"] = True
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(inputs=inputs.to(parameter.device), **options).logits
    finally:
        model.train(was_training)
    answer: np.ndarray = logits.float().cpu().numpy()
    return answer
